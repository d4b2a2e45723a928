"""What is known of pods and nodes in each of many hours: read at once, and what each hour alone would tell."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest

from pipeline.demo.servers import PrometheusBinary
from pipeline.extraction import Known, read_known
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.limits import TooMuchError
from pipeline.sources.prometheus.servers import Servers
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import HOUR, Window, to_ms
from tests.conftest import RealClock
from tests.gatekeeper import Gate, Knock, _forwarded
from tests.misbehaving import Answer
from tests.sinks.servers import RealStore
from tests.sources.prometheus.limited import prometheus
from tests.sources.prometheus.victoria import victoria
from tests.sources.series import Series, fill, push, written

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOURS = 5
WINDOW = Window(START, START + HOURS * HOUR)
GAP_MS = 10 * MS_PER_MINUTE
NODES = ("n1", "n2", "n3")
PODS = [(f"u{number}", f"ns{number % 2}", f"web-{number % 12}") for number in range(30)]  # names come again
OTHERS = [("", "ns0", "web-3"), ("u3", None, None), ("unknown", "ns0", "web-7d9f5c8b6-x2lqk")]
# a Prometheus 2 looks at one millisecond more than the first, others do not
EDGES_MS = (-GAP_MS - 3, -GAP_MS - 1, -GAP_MS, -1, 0, 1, GAP_MS, GAP_MS + 1)
OWNERS = ("ReplicaSet", "Job", "<none>", "DaemonSet")
LABEL = re.compile(r'(\w+)="([^"]*)"')
Asked = Callable[..., Servers[BulkServer]]


def lives(chance: np.random.Generator) -> list[int]:
    """Stamps of a series that comes, goes and falls silent, some of them at the very edges of what an hour looks at."""
    start, edge = to_ms(START), to_ms(START) + int(chance.integers(-1, HOURS + 2)) * MS_PER_HOUR
    stamps = {edge + int(beyond) for beyond in chance.choice(EDGES_MS, chance.integers(3))}
    for _ in range(chance.integers(3)):
        begin = start + int(chance.integers(-60, HOURS * 60)) * MS_PER_MINUTE + 7_000
        stamps |= set(range(begin, begin + int(chance.integers(1, 150)) * MS_PER_MINUTE, MS_PER_MINUTE))
    return sorted(stamps or {edge})


def everything(seed: int = 5) -> Series:
    """Series of kube-state-metrics, with another cluster's beside ours."""
    chance, made = np.random.default_rng(seed), dict[str, list[tuple[int, float]]]()

    def add(metric: str, value: float = 1.0, **labels: str) -> None:
        made[written(metric, cluster="ours", **labels)] = [(stamp, value) for stamp in lives(chance)]

    def owner(kind: str, name: str, controls: str = "true") -> dict[str, str]:
        return {"owner_kind": kind, "owner_name": name, "owner_is_controller": controls}

    for number, (uid, namespace, pod) in enumerate(PODS):
        who = {"uid": uid, "namespace": namespace, "pod": pod}
        add("kube_pod_owner", **who, **owner(OWNERS[number % 4], f"{'job' if number % 4 == 1 else 'web'}-{number % 5}"))
        if number % 3 == 0:
            add("kube_pod_owner", **who, **owner("StatefulSet", "db", "true" if number % 8 else "false"))
        add("kube_pod_start_time", 1_793_000_000.0 + number / 8, **who)
        if number % 5 == 0:
            add("kube_pod_start_time", 1_793_000_000.5 + number, **who, instance="moved:80")
    for number in range(5):
        name = {"namespace": f"ns{number % 2}", "replicaset": f"web-{number}"}
        add("kube_replicaset_owner", **name, **owner("Deployment", f"web-{number}"))
        add("kube_replicaset_owner", **name, **owner("Rollout", f"roll-{number}"))
        add("kube_job_owner", namespace=f"ns{number % 2}", job_name=f"job-{number}", **owner("CronJob", "nightly"))
    for number, node in enumerate(NODES):
        add("kube_node_info", node=node)
        add("kube_node_info", node=node, instance="moved:80")
        for again in range(2):  # a node that was made anew
            hour = to_ms(START) // 1000 + 3600 * (number + 2 * again) + 600
            add("kube_node_created", float(hour), node=node, instance=f"ksm-{again}")
    made[written("kube_pod_owner", cluster="theirs", uid="u1", **owner("StatefulSet", "theirs"))] = [
        (to_ms(START) + minute * MS_PER_MINUTE, 1.0) for minute in range(HOURS * 60)
    ]
    return made


@pytest.fixture(scope="module")
def data_dir(prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known") / "data"
    fill(prometheus_binary.promtool, folder, everything())
    return folder


@pytest.fixture(scope="module")
def store(data_dir: Path) -> Iterator[RealStore]:
    with prometheus(data_dir) as running:
        yield running


@pytest.fixture(params=["remote_read", "query"])
def asked(clock: RealClock, request: pytest.FixtureRequest) -> Asked:
    """Servers that stream their samples, and such as answer expressions."""

    def of(*urls: str, cluster: str = "ours", transport: str = request.param) -> Servers[BulkServer]:
        limits = HttpSettings(timeout_seconds=10, retry_seconds=0)
        endpoints = [
            PrometheusEndpoint.model_validate(
                {"url": url, "selector": f'{{cluster="{cluster}"}}', "transport": transport}
            )
            for url in urls
        ]
        return Servers([[BulkServer(one, limits, {}, clock, pytest.fail)] for one in endpoints], clock)

    return of


NAMED = [name for uid, namespace, pod in PODS for name in (uid, f"{namespace}/{pod}")]


def within_hour(hour: datetime) -> tuple[int, int]:
    return to_ms(hour) + 1, to_ms(hour) + 2


def across(edge: datetime) -> tuple[int, int]:
    return to_ms(edge) - 1, to_ms(edge) + 1


def started(known: Known, begin_ms: int, end_ms: int) -> dict[str, float]:
    """Starts as known of births in an interval."""
    rows = known.starts.rows(NAMED)
    ms = known.starts.of(rows, np.full(len(rows), begin_ms), np.full(len(rows), end_ms))
    return {name: value for name, value in zip(NAMED, ms.tolist(), strict=True) if not np.isnan(value)}


def told(known: Known, window: Window) -> list[object]:
    """Everything that can be asked, hour by hour."""
    found = list[object]()
    for number, hour in enumerate(window.hours()):
        found += [(hour, pod, known.owners[number].of(*pod)) for pod in (*PODS, *OTHERS)]
        found += [(hour, str(started(known, *span))) for span in (within_hour(hour), across(hour), across(hour + HOUR))]
        for node in (*NODES, "n9"):
            hours_ms = np.array([to_ms(hour)])
            ratios = known.presence.expected_ratios(node, hours_ms, GAP_MS) if known.presence else np.array([np.nan])
            found.append((hour, node, str(ratios[0])))
    return found


def alone(servers: Servers[BulkServer]) -> list[object]:
    """The same, each hour read for itself."""
    hours = [Window.of_hour(hour) for hour in WINDOW.hours()]
    return [line for hour in hours for line in told(read_known(servers, hour, GAP_MS), hour)]


def within(samples: list[tuple[int, float]], hour: int) -> list[float]:
    """The values that an hour may look at."""
    start_ms = to_ms(START) + hour * MS_PER_HOUR
    return [value for ms, value in samples if start_ms - GAP_MS - 1 <= ms <= start_ms + MS_PER_HOUR + GAP_MS]


def test_of_many_hours_is_known_what_each_alone_tells(store: RealStore, asked: Asked) -> None:
    servers = asked(store.url)
    known = read_known(servers, WINDOW, GAP_MS)
    assert len(known.owners) == HOURS
    assert told(known, WINDOW) == alone(servers)
    assert max(len({owners.of(*pod) for owners in known.owners}) for pod in PODS) > 2, "nothing came and nothing went"


def test_starts_are_those_of_the_samples_near_each_hour(store: RealStore, asked: Asked) -> None:
    made, known = everything(), read_known(asked(store.url), WINDOW, GAP_MS)
    for hour in range(HOURS):
        expected: dict[str, int] = {}
        for uid, namespace, pod in PODS:
            series = [made[s] for s in made if s.startswith("kube_pod_start_time") and f'uid="{uid}"' in s]
            for value in (max(within(samples, hour), default=0.0) for samples in series):
                for key in (uid, f"{namespace}/{pod}") if value else ():
                    expected[key] = max(expected.get(key, 0), round(value * 1000))
        assert started(known, *within_hour(START + hour * HOUR)) == expected
        assert 0 < len(expected) < 2 * len(PODS)


def test_starts_across_an_edge_are_those_of_the_samples_near_it(store: RealStore, asked: Asked) -> None:
    made, known = everything(), read_known(asked(store.url), WINDOW, GAP_MS)
    for edge in range(HOURS + 1):
        at_ms, expected = to_ms(START) + edge * MS_PER_HOUR, dict[str, int]()
        for uid, namespace, pod in PODS:
            for series in (s for s in made if s.startswith("kube_pod_start_time") and f'uid="{uid}"' in s):
                value = max((v for ms, v in made[series] if at_ms - GAP_MS - 1 <= ms <= at_ms + GAP_MS), default=0.0)
                for key in (uid, f"{namespace}/{pod}") if value else ():
                    expected[key] = max(expected.get(key, 0), round(value * 1000))
        assert started(known, *across(START + edge * HOUR)) == expected
        assert 0 < len(expected) < 2 * len(PODS)


def seen(made: Series, metric: str, hour: int, **labels: str) -> list[dict[str, str]]:
    """Our label sets of a metric that an hour may look at, the one that counts first."""
    found = [dict(LABEL.findall(series)) for series in made if series.startswith(metric) and within(made[series], hour)]
    ours = [row for row in found if row["cluster"] == "ours" and labels.items() <= row.items()]
    return sorted(
        ours, key=lambda r: (r["owner_is_controller"] == "false", r["owner_kind"] == "<none>", r["owner_name"])
    )


def by_hand(made: Series, hour: int, uid: str, namespace: str, pod: str) -> tuple[str, str] | None:
    """Kind and name of a pod's owner; None where no series tells it."""
    rows = seen(made, "kube_pod_owner", hour, uid=uid) or seen(
        made, "kube_pod_owner", hour, namespace=namespace, pod=pod
    )
    if not rows:
        return None
    kind, name = rows[0]["owner_kind"], rows[0]["owner_name"]
    above = {"ReplicaSet": ("kube_replicaset_owner", "replicaset"), "Job": ("kube_job_owner", "job_name")}.get(kind)
    parents = seen(made, above[0], hour, namespace=namespace, **{above[1]: name}) if above else []
    if parents:
        return parents[0]["owner_kind"], parents[0]["owner_name"]
    return ("Pod", pod) if kind == "<none>" else (kind, name)


def test_owners_are_those_of_the_samples_near_each_hour(store: RealStore, asked: Asked) -> None:
    made, known = everything(), read_known(asked(store.url), WINDOW, GAP_MS)
    answers = [(by_hand(made, hour, *pod), known.owners[hour].of(*pod)) for hour in range(HOURS) for pod in PODS]
    for expected, found in answers:
        if expected is None:
            assert found.source == "guessed"
        else:
            assert (found.workload_kind, found.workload, found.source) == (*expected, "kube-state-metrics")
    kinds = {expected[0] for expected, _ in answers if expected}
    assert kinds == {"Deployment", "ReplicaSet", "CronJob", "Job", "Pod", "StatefulSet", "DaemonSet", "Rollout"}


def test_a_victoria_metrics_tells_the_same(store: RealStore, asked: Asked, tmp_path: Path) -> None:
    with victoria(tmp_path / "victoria") as other:
        push(other.url, everything())
        found = told(read_known(asked(other.url, transport="query"), WINDOW, GAP_MS), WINDOW)
    assert found == told(read_known(asked(store.url), WINDOW, GAP_MS), WINDOW)


def test_a_server_that_loads_few_samples_at_once_tells_the_same(store: RealStore, data_dir: Path, asked: Asked) -> None:
    expected = told(read_known(asked(store.url), WINDOW, GAP_MS), WINDOW)
    with prometheus(data_dir, "--query.max-samples=95") as strict:
        at_ms = range(to_ms(START), to_ms(START) + HOURS * MS_PER_HOUR, MS_PER_HOUR)
        with pytest.raises(TooMuchError):
            list(
                asked(strict.url, transport="query").first._instants._read("last_over_time(kube_pod_owner[80m])", at_ms)
            )
        assert told(read_known(asked(strict.url), WINDOW, GAP_MS), WINDOW) == expected


def test_a_server_that_moves_the_stamps_of_ranges_is_asked_for_instants(store: RealStore, asked: Asked) -> None:
    host = urlsplit(store.url).netloc

    def moved(knock: Knock) -> Answer | None:
        """As a cache in front of servers, which keeps answers at multiples of the step."""
        if not knock.target.endswith("/query_range"):
            return None
        form = {name: values[0] for name, values in parse_qs(knock.body.decode()).items()}
        for edge in ("start", "end"):
            form[edge] = str(float(form[edge]) // float(form["step"]) * float(form["step"]))
        return _forwarded(
            host, Knock(knock.method, knock.target, knock.headers, urlencode(form).encode()), knock.target
        )

    with Gate(store.url, moved).open() as gate:
        found = told(read_known(asked(gate.url, transport="query"), WINDOW, GAP_MS), WINDOW)
        assert any(knock.target.endswith("/query_range") for knock in gate.knocks)
    assert found == told(read_known(asked(store.url), WINDOW, GAP_MS), WINDOW)


def test_what_several_servers_tell_is_put_together(store: RealStore, asked: Asked) -> None:
    expected = told(read_known(asked(store.url), WINDOW, GAP_MS), WINDOW)
    assert told(read_known(asked(store.url, store.url), WINDOW, GAP_MS), WINDOW) == expected


def test_without_kube_state_metrics_nothing_is_known(store: RealStore, asked: Asked) -> None:
    known = read_known(asked(store.url, cluster="nobody"), WINDOW, GAP_MS)
    assert known.presence is None
    assert [started(known, *within_hour(hour)) for hour in WINDOW.hours()] == [{}] * HOURS
    assert {owners.of("u1", "ns1", "db-0").source for owners in known.owners} == {"guessed"}
