"""The servers that hold a cluster's samples: shards, each with some of its nodes, and of each one or more replicas.

Replicas scrape the same targets, so one that is silent is no loss while another of its shard answers; a shard that is
silent is, and is an error. Whatever is asked is asked of each server apart: raw samples of two never meet.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from pipeline.errors import SourceError, SourceUnavailable
from pipeline.samples import Block, Transport
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.window import Clock

OBJECTS = "kube_"  # how series of kube-state-metrics begin: they speak of the cluster, not of their server's targets
SILENT = "replica "  # how a warning of a silent one begins
PAUSE_SECONDS = 300.0  # a silent replica is not asked again at once: each question would cost all its retries

S_co = TypeVar("S_co", bound=PrometheusServer, covariant=True)
T = TypeVar("T")


class Servers(Generic[S_co]):
    """All servers of a cluster, in the config's order.

    Attributes:
        shards: the replicas of each shard.
        names: of each server: its address, and its selector where that is what tells it from another.
        shard_of: of each server, the number of its shard.
    """

    def __init__(
        self, shards: Sequence[Sequence[S_co]], clock: Clock, on_warning: Callable[[str], None] = lambda _warning: None
    ) -> None:
        self.shards = tuple(tuple(replicas) for replicas in shards)
        addresses = [server.url for server in self]
        self.names = [
            server.url if addresses.count(server.url) == 1 else f"{server.url}{{{_written(server.matchers)}}}"
            for server in self
        ]
        self.shard_of = [shard for shard, replicas in enumerate(self.shards) for _ in replicas]
        self._clock, self._on_warning = clock, on_warning
        self._silent_until: dict[int, float] = {}

    def __iter__(self) -> Iterator[S_co]:
        """Every server, shard by shard."""
        return (server for replicas in self.shards for server in replicas)

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    @property
    def first(self) -> S_co:
        """The first server; the only one of most clusters."""
        return self.shards[0][0]

    @property
    def said(self) -> str:
        """Their names in a line."""
        return ", ".join(self.names)

    def each(self, ask: Callable[[S_co], T]) -> Iterator[tuple[int, T]]:
        """Number and answer of every server that gives one: of each shard one at least.

        A replica that fails is told as a warning and left alone for five minutes.

        Raises:
            SourceError: no replica of a shard answers.
        """
        first = 0
        for shard, replicas in enumerate(self.shards):
            yield from self._of_shard(shard, range(first, first + len(replicas)), ask)
            first += len(replicas)

    def by_shard(self, ask: Callable[[S_co], T]) -> list[list[T]]:
        """The answers of each shard's replicas.

        Raises:
            SourceError: no replica of a shard answers.
        """
        found: list[list[T]] = [[] for _ in self.shards]
        for number, answer in self.each(ask):
            found[self.shard_of[number]].append(answer)
        return found

    def first_answer(self, ask: Callable[[S_co], list[T]]) -> list[T]:
        """The answer of the first server that has one which is not empty; empty where none has.

        Raises:
            SourceError: before any such answer, no replica of a shard answers.
        """
        return next((answer for _, answer in self.each(ask) if answer), [])

    def transport_of(self, server: PrometheusServer) -> Transport:
        """A server's samples, but Kubernetes' objects as any of the servers shows them."""
        return server if len(self) == 1 else _WithObjects(self, server)

    def _of_shard(self, shard: int, numbers: range, ask: Callable[[S_co], T]) -> Iterator[tuple[int, T]]:
        now, errors, answered = self._clock.monotonic(), list[SourceError](), False
        silent = [number for number in numbers if self._silent_until.get(number, now) > now]
        for number in (*(number for number in numbers if number not in silent), *silent):
            if answered and number in silent:
                return
            try:
                answer = ask(self.shards[shard][number - numbers[0]])
            except SourceError as error:
                if len(numbers) == 1:
                    raise
                errors.append(error)
                self._note(number, error)
                continue
            self._silent_until.pop(number, None)
            answered = True
            yield number, answer
        if not answered:
            raise _none_of(errors)

    def _note(self, number: int, error: SourceError) -> None:
        if number not in self._silent_until:
            self._on_warning(
                f"{SILENT}{self.names[number]} gives nothing, the others of its shard serve alone: {error}"
            )
        self._silent_until[number] = self._clock.monotonic() + PAUSE_SECONDS


class _WithObjects:
    """See `Servers.transport_of`."""

    def __init__(self, servers: Servers[PrometheusServer], server: PrometheusServer) -> None:
        self._servers, self._server = servers, server

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """See `samples.Transport`."""
        if not selector.startswith(OBJECTS):
            yield from self._server.blocks(selector, start_ms, end_ms)
            return
        metric, _, body = selector.removesuffix("}").partition("{")
        conditions = body.removesuffix(_written(self._server.matchers)).removesuffix(",")

        def ask(server: PrometheusServer) -> list[Block]:
            there = ",".join(part for part in (conditions, _written(server.matchers)) if part)
            return list(server.blocks(f"{metric}{{{there}}}", start_ms, end_ms))

        for _, found in self._servers.each(ask):
            yield from found

    def together(self, selectors: Sequence[str], start_ms: int, end_ms: int) -> list[list[Block]] | None:
        """See `samples.Several`."""
        if any(selector.startswith(OBJECTS) for selector in selectors):
            return None
        return self._server.together(selectors, start_ms, end_ms)


def _written(matchers: Sequence[Matcher]) -> str:
    return ",".join(map(str, matchers))


def _none_of(errors: Sequence[SourceError]) -> SourceError:
    """One error for a whole shard; one that may pass, where any of them may."""
    kind = next((type(error) for error in errors if isinstance(error, SourceUnavailable)), type(errors[0]))
    return kind(f"no replica answers: {'; '.join(map(str, errors))}")
