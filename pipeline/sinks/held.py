"""What a store holds, out of its answer: samples by stamp, by our labels alone, by revision."""

import gc
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pipeline.errors import RemoteWriteError
from pipeline.sinks.published_series import LABEL_NAMES, Key
from pipeline.units import MS_PER_SECOND
from pipeline.window import from_ms

SERIES = b'{"metric":'  # as stores begin one; an answer written otherwise is parsed in one piece
STRETCH_BYTES = 1 << 16


@dataclass(frozen=True)
class Held:
    """What a store holds of some series.

    Attributes:
        values: stamp in ms, key (without revision), revision label ("" where there is none), value.
        doubles: per stamp, samples that were there twice with the same key, revision and value; each counts once.
    """

    values: dict[int, dict[Key, dict[str, float]]] = field(default_factory=lambda: defaultdict(dict))
    doubles: Counter[int] = field(default_factory=Counter)

    def add(self, key: Key, revision: str, stamp_ms: int, value: float) -> None:
        """Note one sample.

        Raises:
            RemoteWriteError: (`several_replicas`) there is another value at that key, revision and stamp.
        """
        revisions = self.values[stamp_ms].setdefault(key, {})
        if revision in revisions:
            self.doubles[stamp_ms] += 1
            if not equal(revisions[revision], value):
                raise RemoteWriteError(
                    f"it holds both {revisions[revision]!r} and {value!r} of {key[0]} "
                    f"at {from_ms(stamp_ms):%FT%TZ}: query_url must be one server, not several replicas",
                    "several_replicas",
                )
        revisions[revision] = value


def equal(one: float, other: float) -> bool:
    """Equal as design section 2 defines it: to 1e-9 of the larger, plus 1e-12."""
    return one == other or abs(one - other) <= 1e-9 * max(abs(one), abs(other)) + 1e-12


def held_of(body: bytes, start_ms: int, end_ms: int) -> Held:
    """The samples of a query's answer with `start_ms < stamp < end_ms`.

    Raises:
        RemoteWriteError: `several_replicas`, or `malformed`: not the whole matrix that was asked for.
    """
    held = Held()
    try:
        with no_collection():
            for one in matrix_of(body):
                labels = one["metric"]
                key = _key(labels["__name__"], labels)
                revision = labels.get("revision", "")
                for stamp, text in one["values"]:
                    if start_ms < (stamp_ms := round(stamp * MS_PER_SECOND)) < end_ms:
                        held.add(key, revision, stamp_ms, float(text))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _malformed("a matrix that is not one") from None
    return held


def _key(metric: str, labels: Mapping[str, str]) -> Key:
    """Only our own labels: stores add external and replica labels to what we wrote."""
    names = LABEL_NAMES[metric]
    try:
        return metric, tuple(zip(names, map(labels.__getitem__, names), strict=True))
    except KeyError:
        return metric, tuple([(name, labels[name]) for name in names if name in labels])


@contextmanager
def no_collection() -> Iterator[None]:
    """No search for cycles among objects by the hundred thousand that have none: it takes as long as making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def matrix_of(body: bytes) -> Iterator[Mapping[str, Any]]:
    """The series of a query's answer, parsed a stretch at a time: objects of them all would be many times its bytes.

    Raises:
        RemoteWriteError: (`malformed`) not a whole matrix.
    """
    cuts = [body.find(SERIES)]  # what is cut at is in no text: there, a quote has a backslash before it
    while (end := body.find(b"}," + SERIES, cuts[-1] + STRETCH_BYTES)) >= 0:
        cuts.append(end + 2)
    for start, end in pairwise(cuts):
        yield from _parsed(b"[" + body[start : end - 1] + b"]")
    yield from _result(_parsed(body[: cuts[0]] + body[cuts[-1] :]))


def _parsed(text: bytes) -> Any:  # noqa: ANN401 # the type of a JSON document
    try:
        return json.loads(text)
    except ValueError:
        raise _malformed("no JSON") from None


def _result(document: Any) -> Iterable[Mapping[str, Any]]:  # noqa: ANN401 # likewise
    if not isinstance(document, dict):
        raise _malformed("no JSON object")
    if document.get("isPartial") or document.get("warnings"):
        raise _malformed(f"a partial result ({str(document.get('warnings', 'isPartial'))[:100]})")
    data = document.get("data")
    if document.get("status") != "success" or not isinstance(data, dict) or data.get("resultType") != "matrix":
        raise _malformed("no matrix of samples")
    return data["result"]  # type: ignore[no-any-return] # looked through by whoever asked


def _malformed(answered: str) -> RemoteWriteError:
    return RemoteWriteError(f"it answers {answered}: check its query_url", "malformed")
