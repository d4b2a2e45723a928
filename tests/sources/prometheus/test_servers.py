"""Several servers asked as one: replicas stand in for each other, shards do not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest

from pipeline import samples
from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.servers import PAUSE_SECONDS, Servers
from tests.sinks.rows import StillClock


def server(url: str, selector: str = "{}") -> PrometheusServer:
    endpoint = PrometheusEndpoint(url=url, selector=selector)
    return PrometheusServer(endpoint, HttpSettings(retry_seconds=0), {}, StillClock())


@dataclass
class Asked:
    """Answers with the last letter of a server's address, or its error; keeps whom it asked."""

    errors: dict[str, SourceError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, one: PrometheusServer) -> str:
        letter = one.url[-1]
        self.asked.append(letter)
        if letter in self.errors:
            raise self.errors[letter]
        return letter


@dataclass
class Several:
    """Shards of servers called by letters, such as `ab c`."""

    shards: str
    clock: StillClock = field(default_factory=StillClock)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        made = [[server(f"http://{letter}") for letter in replicas] for replicas in self.shards.split()]
        self.servers = Servers(made, self.clock, self.warnings.append)


def test_every_server_is_asked_and_numbered_in_the_configs_order() -> None:
    several = Several("ab c")
    assert list(several.servers.each(Asked())) == [(0, "a"), (1, "b"), (2, "c")]
    assert several.servers.by_shard(Asked()) == [["a", "b"], ["c"]]
    assert several.servers.shard_of == [0, 0, 1]
    assert several.servers.said == "http://a, http://b, http://c"
    assert several.warnings == []


@pytest.mark.parametrize("error", [SourceUnavailable("gone"), SourceRejected("who are you"), SourceMalformed("half")])
def test_a_replica_that_fails_in_any_way_is_told_once_and_left_out(error: SourceError) -> None:
    several, asked = Several("ab c"), Asked({"a": error})
    for _ in range(3):
        assert list(several.servers.each(asked)) == [(1, "b"), (2, "c")]
    assert several.warnings == [f"replica http://a gives nothing, the others of its shard serve alone: {error}"]
    assert asked.asked.count("a") == 1, "not asked again at once"


def test_a_silent_replica_is_asked_again_after_a_pause_and_told_if_it_fails_anew() -> None:
    several, asked = Several("ab"), Asked({"a": SourceUnavailable("gone")})
    list(several.servers.each(asked))
    several.clock.seconds += PAUSE_SECONDS + 1
    del asked.errors["a"]
    assert list(several.servers.each(asked)) == [(0, "a"), (1, "b")]
    asked.errors["a"] = SourceUnavailable("gone again")
    list(several.servers.each(asked))
    assert len(several.warnings) == 2


def test_a_silent_replica_is_asked_at_once_where_the_other_fails_too() -> None:
    several, asked = Several("ab"), Asked({"a": SourceUnavailable("gone")})
    list(several.servers.each(asked))
    asked.errors = {"b": SourceUnavailable("gone, too")}
    assert list(several.servers.each(asked)) == [(0, "a")]


def test_a_shard_without_an_answer_is_an_error_whatever_the_others_say() -> None:
    gone = SourceUnavailable("gone")
    with pytest.raises(SourceUnavailable, match=r"^gone$"):
        list(Several("a b").servers.each(Asked({"b": gone})))
    several = Several("a bc")
    with pytest.raises(SourceUnavailable, match=r"^no replica answers: gone; who are you$") as failed:
        list(several.servers.each(Asked({"b": gone, "c": SourceRejected("who are you")})))
    assert failed.value.exit_code == 75


def test_a_shard_that_may_answer_later_is_one_to_try_again() -> None:
    several = Several("ab")
    with pytest.raises(SourceUnavailable):
        list(several.servers.each(Asked({"a": SourceRejected("who are you"), "b": SourceUnavailable("gone")})))
    with pytest.raises(SourceRejected):
        list(Several("ab").servers.each(Asked({"a": SourceRejected("no"), "b": SourceMalformed("what")})))


def test_the_first_answer_that_says_anything_is_taken() -> None:
    said = {"a": [], "b": [1], "c": [2]}
    asked: list[str] = []

    def ask(one: PrometheusServer) -> list[int]:
        asked.append(one.url[-1])
        return said[one.url[-1]]

    assert Several("a bc").servers.first_answer(ask) == [1]
    assert asked == ["a", "b"]
    assert Several("a b").servers.first_answer(lambda _: []) == []
    with pytest.raises(SourceUnavailable):
        Several("a b").servers.first_answer(
            lambda one: [] if one.url[-1] == "a" else [Asked({"b": SourceUnavailable("gone")})(one)]
        )


def test_servers_of_one_address_are_called_by_their_selectors() -> None:
    both = [[server("http://mimir", '{shard="1"}'), server("http://mimir", '{shard="2"}')], [server("http://b")]]
    assert Servers(both, StillClock()).names == ['http://mimir{shard="1"}', 'http://mimir{shard="2"}', "http://b"]


class Told(PrometheusServer):
    """Remembers selectors; answers with a block of one sample, its address's last letter in a label."""

    def __init__(self, url: str, selector: str) -> None:
        endpoint = PrometheusEndpoint(url=url, selector=selector)
        super().__init__(endpoint, HttpSettings(retry_seconds=0), {}, StillClock())
        self.selectors: list[str] = []

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        self.selectors.append(selector)
        labels = pa.table({"from": [self.url[-1]]})
        yield Block(labels, np.array([0, 1]), np.array([start_ms]), np.array([1.0]))


@pytest.mark.parametrize(("a", "b"), [('{c="1"}', '{c="2",d="3"}'), ("{}", '{c="2"}'), ('{c="1"}', "{}")])
@pytest.mark.parametrize("own", ["", 'container_id!=""'])
def test_kubernetes_objects_come_from_every_server_each_by_its_own_selector(a: str, b: str, own: str) -> None:
    one, other = Told("http://a", a), Told("http://b", b)
    servers = Servers([[one], [other]], StillClock())
    transport = servers.transport_of(one)

    def text(selector: str) -> str:
        return f"{{{','.join(part for part in (own, selector.strip('{}')) if part)}}}"

    found = list(transport.blocks(f"kube_pod_container_info{text(a)}", 1, 2))
    assert [block.labels["from"].to_pylist() for block in found] == [["a"], ["b"]]
    assert one.selectors == [f"kube_pod_container_info{text(a)}"]
    assert other.selectors == [f"kube_pod_container_info{text(b)}"]
    assert len(list(transport.blocks(f"scaph_host_energy_microjoules{text(a)}", 1, 2))) == 1
    assert len(other.selectors) == 1


def test_several_selectors_are_asked_for_together_where_none_is_of_kubernetes_objects() -> None:
    class Together(Told):
        def together(self, selectors: Sequence[str], start_ms: int, end_ms: int) -> list[list[Block]]:
            return [list(self.blocks(one, start_ms, end_ms)) for one in selectors]

    one, other = Together("http://a", "{}"), Together("http://b", "{}")
    transport = Servers([[one], [other]], StillClock()).transport_of(one)
    assert isinstance(transport, samples.Several)
    found = transport.together(["m{}", "n{}"], 1, 2)
    assert found is not None
    assert [[block.labels["from"].to_pylist() for block in blocks] for blocks in found] == [[["a"]], [["a"]]]
    assert transport.together(["m{}", "kube_pod_info{}"], 1, 2) is None
    assert (one.selectors, other.selectors) == (["m{}", "n{}"], [])


def test_a_server_alone_is_its_own_transport() -> None:
    one = server("http://a")
    assert Servers([[one]], StillClock()).transport_of(one) is one
