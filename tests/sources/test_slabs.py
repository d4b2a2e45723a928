"""Hours read together, and nodes folded some at a time: each gets what it would have got alone."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.samples import Block, Transport
from pipeline.sources.slabs import Share, Shares, Slab, cut

Series = dict[tuple[str, str], list[tuple[int, float]]]  # by node and name

STAMPS = st.lists(st.integers(0, 100), unique=True, max_size=12).map(sorted)
FLEETS = st.dictionaries(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")), STAMPS, max_size=8)


class Store:
    """A transport over made series, which counts what it is asked; each series comes in two blocks, as some may."""

    def __init__(self, series: Series) -> None:
        self.series, self.asked = series, list[tuple[str, int, int]]()

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        self.asked.append((selector, start_ms, end_ms))
        middle = (start_ms + end_ms) // 2
        for first, last in ((start_ms, middle), (middle + 1, end_ms)):
            found = {k: [(s, v) for s, v in own if first <= s <= last] for k, own in self.series.items()}
            found = {k: own for k, own in found.items() if own}
            if found:
                yield block_of(found)


def block_of(series: Series) -> Block:
    samples = [sample for own in series.values() for sample in own]
    return Block(
        labels=pa.table({"node": [n for n, _ in series], "name": [n for _, n in series]}),
        offsets=np.cumsum([0, *map(len, series.values())]),
        stamps_ms=np.array([s for s, _ in samples], dtype=np.int64),
        values=np.array([v for _, v in samples], dtype=np.float64),
    )


def said(transport: Transport, start_ms: int, end_ms: int) -> Series:
    """All that a transport says, joined; blocks must hold no empty series and rise within each."""
    found: Series = {}
    for block in transport.blocks("m", start_ms, end_ms):
        for row, labels in enumerate(block.labels.to_pylist()):
            own = slice(block.offsets[row], block.offsets[row + 1])
            samples = list(zip(block.stamps_ms[own].tolist(), block.values[own].tolist(), strict=True))
            assert samples
            found.setdefault((labels["node"], labels["name"]), []).extend(samples)
    for samples in found.values():
        assert [stamp for stamp, _ in samples] == sorted({stamp for stamp, _ in samples})
    return found


def nodes_of(labels: pa.Table) -> list[str]:
    return [str(node) for node in labels["node"].to_pylist()]


@given(fleet=FLEETS, edges=st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted))
def test_a_slab_hands_out_what_its_transport_would(fleet: dict[tuple[str, str], list[int]], edges: list[int]) -> None:
    store = Store({key: [(stamp, stamp / 7) for stamp in stamps] for key, stamps in fleet.items()})
    slab = Slab(store, 0, 100)
    assert said(slab, *edges) == said(Store(store.series), *edges)
    assert said(slab, 0, 100) == said(Store(store.series), 0, 100)
    assert store.asked == [("m", 0, 100)]
    assert slab.samples == sum(map(len, fleet.values()))


@given(fleet=FLEETS, named=st.lists(st.sampled_from("abcde"), unique=True, max_size=4), cut_at=st.integers(0, 4))
def test_shares_are_all_series_once(fleet: dict[tuple[str, str], list[int]], named: list[str], cut_at: int) -> None:
    store = Store({key: [(stamp, 1.0) for stamp in stamps] for key, stamps in fleet.items()})
    shares = Shares(Slab(store, 0, 100), nodes_of, named)
    asked = [(named[:cut_at], False), (named[cut_at:], False), ([], True)]
    parts = [said(Share(shares, nodes, others=others), 20, 80) for nodes, others in asked]
    assert {node for node, _ in parts[0]} <= set(named[:cut_at])
    assert {node for node, _ in parts[1]} <= set(named[cut_at:])
    assert not {node for node, _ in parts[2]} & set(named)
    together = {key: samples for part in parts for key, samples in part.items()}
    assert sum(map(len, parts)) == len(together)
    assert together == said(Store(store.series), 20, 80)
    assert len(store.asked) == 1


def test_what_lies_outside_a_slab_is_asked_for_by_itself() -> None:
    store = Store({("a", "x"): [(5, 1.0), (150, 2.0)]})
    slab = Slab(store, 0, 100)
    assert said(slab, 0, 200) == {("a", "x"): [(5, 1.0), (150, 2.0)]}
    assert slab.samples == 0
    assert store.asked == [("m", 0, 200)]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_slab_is_filled_with_what_will_be_asked_for_each_once(concurrency: int) -> None:
    store = Store({("a", "x"): [(5, 1.0), (50, 2.0)]})
    slab = Slab(store, 0, 100)
    said(slab, 0, 10)
    slab.fill(["m", "n", "o", "n"], concurrency)
    assert sorted(store.asked) == [("m", 0, 100), ("n", 0, 100), ("o", 0, 100)]
    assert (slab.selectors, slab.samples) == (["m", "n", "o"], 6)
    assert said(slab, 0, 100) == said(store, 0, 100)
    assert len(store.asked) == 4


class Together(Store):
    """A store that may be asked for several selectors at once, and says how often it was."""

    def __init__(self, series: Series, *, able: bool) -> None:
        super().__init__(series)
        self.able, self.together_asked = able, list[Sequence[str]]()

    def together(self, selectors: Sequence[str], start_ms: int, end_ms: int) -> list[list[Block]] | None:
        self.together_asked.append(selectors)
        return [list(Store(self.series).blocks(one, start_ms, end_ms)) for one in selectors] if self.able else None


@pytest.mark.parametrize(("able", "alone"), [(True, []), (False, ["m", "n"])])
def test_what_one_request_answers_is_asked_for_once_and_otherwise_one_by_one(
    able: bool,  # noqa: FBT001 # drawn
    alone: list[str],
) -> None:
    store = Together({("a", "x"): [(5, 1.0), (50, 2.0)]}, able=able)
    slab = Slab(store, 0, 100)
    slab.fill(["m", "n", "m"], 1)
    assert ([one for one, _, _ in store.asked], store.together_asked) == (alone, [["m", "n"]])
    assert (slab.selectors, slab.samples) == (["m", "n"], 4)
    assert said(slab, 0, 100) == said(Store(store.series), 0, 100)
    slab.fill(["m", "o"], 1)
    assert [one for one, _, _ in store.asked] == [*alone, "o"], "one selector is a request of its own"
    assert len(store.together_asked) == 1


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "left"), [(10, 30, 3), (11, 29, 1), (31, 99, 0), (0, 9, 0), (20, 20, 1)]
)
def test_both_edges_of_a_cut_belong_to_it(start_ms: int, end_ms: int, left: int) -> None:
    block = block_of({("a", "x"): [(10, 1.0), (20, 2.0), (30, 3.0)]})
    found = list(cut(block, start_ms, end_ms, None))
    assert sum(len(one.values) for one in found) == left
    assert all(start_ms <= stamp <= end_ms for one in found for stamp in one.stamps_ms.tolist())
