"""What GPU labels of either Kepler mean: which dialect, whose board, whose pod."""

from collections.abc import Iterator

import pytest

from pipeline.samples import Block
from pipeline.sources.meters import kepler_gpus
from pipeline.sources.meters.kepler_gpus import ACTIVE, CONTAINERS, IDLE, PODS, TOTAL, BoardCounters
from pipeline.sources.prometheus.selectors import Matcher
from tests.sources.meters.test_kepler import Labels, Told, counters

OLD: Labels = {"instance": "10.0.0.1:9102", "job": "kepler", "namespace": "kepler", "pod": "kepler-abc"}


class Exposed(Told):
    """As `Told`, but only series that meet the one condition on `mode` or `gpu_uuid` that a selector may make."""

    def __init__(self, series: dict[str, list[Labels]]) -> None:
        super().__init__(series)
        self.every = series

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        def meant(row: Labels) -> bool:
            if 'gpu_uuid!=""' in selector and not row.get("gpu_uuid"):
                return False
            return all(row.get("mode") == mode for mode in ("dynamic", "idle") if f'mode="{mode}"' in selector)

        self._series = {metric: [row for row in rows if meant(row)] for metric, rows in self.every.items()}
        return super().blocks(selector, start_ms, end_ms)


def board(**labels: str | None) -> Labels:
    return {"node_name": "n1", "gpu": "0", "gpu_uuid": "GPU-a", "gpu_name": "A100", "vendor": "nvidia"} | labels


def device(**labels: str | None) -> Labels:
    return OLD | {"exported_instance": "n1", "package": "0", "mode": "dynamic", "source": "nvml"} | labels


def container(**labels: str | None) -> Labels:
    own: Labels = {"container_id": "c1", "container_name": "api", "container_namespace": "llm", "pod_name": "web"}
    return OLD | own | {"mode": "dynamic"} | labels


def new(series: dict[str, list[Labels]], level: str = "pod") -> BoardCounters:
    read = kepler_gpus.read(Exposed(series), [], 0, 1, level)  # type: ignore[arg-type] # a Literal
    assert read is not None
    return read


def old(series: dict[str, list[Labels]]) -> BoardCounters:
    read = kepler_gpus.read_legacy(Exposed(series), [], 0, 1)
    assert read is not None
    return read


def test_labels_and_not_the_metrics_name_tell_the_dialect() -> None:
    both: dict[str, list[Labels]] = {
        TOTAL: [board(), device()],
        CONTAINERS: [container(), {"node_name": "n1", "pod_id": "u1"}],
    }
    assert new(both).boards.energy.identity["board"].to_pylist() == ["GPU-a"]
    assert [key[2] for key in counters(old(both).boards.energy)] == ["n1/0"]
    assert counters(old(both).users)[0][:4] == ("n1", "c1", "llm", "web")
    assert kepler_gpus.read(Exposed({TOTAL: [device()]}), [], 0, 1) is None
    assert kepler_gpus.read_legacy(Exposed({TOTAL: [board()]}), [], 0, 1) is None


def test_without_boards_nothing_else_is_asked() -> None:
    told = Exposed({PODS: [{"pod_id": "u1"}]})
    assert kepler_gpus.read(told, [], 0, 1) is None
    assert kepler_gpus.read_legacy(told, [], 0, 1) is None
    assert len(told.asked) == 2
    assert told.asked[0][0] == kepler_gpus.asked_for([])


def test_a_board_of_new_kepler_is_one_under_all_its_labels_and_held_by_nobody() -> None:
    read = new({TOTAL: [board(), board(instance="b:1", gpu="1")], ACTIVE: [board()], IDLE: [board()]})
    assert read.boards.energy.identity.to_pylist() == [{"node": "n1", "exporter": "", "board": "GPU-a"}]
    assert set(read.boards.energy.names.to_pylist()[0].values()) == {None}
    assert read.active.identity.to_pylist() == read.idle.identity.to_pylist() == read.boards.energy.identity.to_pylist()
    assert read.boards.meter == "kepler"
    assert read.split == "kepler_node_gpu_{active,idle}_joules_total"


def test_a_node_without_a_name_is_known_by_its_address() -> None:
    read = new({TOTAL: [board(node_name=None, instance="10.0.0.1:28282")]})
    assert read.boards.energy.identity["node"].to_pylist() == ["10.0.0.1"]


def test_a_pods_states_are_one_counter_under_keplers_own_names() -> None:
    pod: Labels = {"node_name": "n1", "pod_id": "u1", "pod_name": "web", "pod_namespace": "llm", "pod": "kepler-x"}
    users = new({TOTAL: [board()], PODS: [pod | {"state": "running"}, pod | {"state": "terminated"}]}).users
    assert users.identity.to_pylist() == [{"node": "n1", "pod_uid": "u1"}]
    assert users.names.to_pylist() == [{"namespace": "llm", "pod": "web"}]


def test_containers_are_named_by_the_pod_seen_in_the_same_scrape_and_left_out_without_one() -> None:
    pod: Labels = {"node_name": "n1", "pod_id": "u1", "pod_name": "web", "pod_namespace": "llm"}
    one: Labels = {"node_name": "n1", "pod_id": "u1", "container_name": "api", "container_id": "c1"}
    users = new({TOTAL: [board()], PODS: [pod], CONTAINERS: [one, one | {"pod_id": None}]}, level="container").users
    assert [key[:7] for key in counters(users)] == [("n1", "u1", "api", "c1", None, "llm", "web")]


@pytest.mark.parametrize("label", ["index", "package"])
def test_a_device_of_old_kepler_is_numbered_by_either_label(label: str) -> None:
    read = old({TOTAL: [device(package=None) | {label: number} for number in "01"]})
    assert [key[:3] for key in counters(read.boards.energy)] == [("n1", "", "n1/0"), ("n1", "", "n1/1")]


def test_what_an_old_board_used_is_both_modes_and_one_alone_where_idle_is_not_shown() -> None:
    """A told value is the series' place among those of its mode: 0 and 1 dynamic, 0, 1 and 2 idle."""
    dynamic = [device(package=number) for number in "01"]
    idle = [device(package=number, mode="idle") for number in "291"]
    assert [(key[2], key[-1]) for key in counters(old({TOTAL: dynamic + idle}).boards.energy)] == [
        ("n1/0", 0.0), ("n1/1", 1.0 + 2.0),
    ]  # fmt: skip
    assert old({TOTAL: dynamic}).split is None


def test_pseudo_containers_are_no_users_and_containers_are_on_the_node_of_their_target() -> None:
    pseudo = container(container_id="system_processes", pod_name="system_processes", container_namespace="system")
    other: Labels = {"instance": "10.0.0.2:9102", "pod": "kepler-xyz"}
    read = old({
        TOTAL: [device(), device(**other, exported_instance="n2")],
        CONTAINERS: [container(), pseudo, container(**other), container(container_id="")],
    })  # fmt: skip
    assert [key[:2] for key in counters(read.users)] == [("n1", "c1"), ("n2", "c1"), ("n1", "llm/web/api")]


def test_every_query_carries_the_users_conditions_and_the_extracts_edges() -> None:
    told = Exposed({TOTAL: [board()]})
    kepler_gpus.read(told, [Matcher("cluster", "=", "eu")], 5, 7)
    assert len(told.asked) == 4
    assert all('cluster="eu"' in asked and (start, end) == (5, 7) for asked, start, end in told.asked)
