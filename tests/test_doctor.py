"""The doctor's checklist says what is there, what is missing and what to do, on real servers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.discovery import FAIL, NOTE, OK, Finding
from pipeline.settings import Settings
from pipeline.sources.meters import kepler
from tests.conftest import RealClock
from tests.misbehaving import data, failure, misbehaving
from tests.product import CONFIG, Product
from tests.sinks.servers import real_prometheus, real_victoria
from tests.sources.series import Series, fill, written

KSM = {
    "kube_pod_owner": {"uid": "u", "pod": "p", "owner_kind": "ReplicaSet"},
    "kube_replicaset_owner": {"replicaset": "r"},
    "kube_job_owner": {"job_name": "j"},
    "kube_pod_start_time": {"uid": "u"},
    "kube_node_info": {"node": "n1"},
}
NODE = {"node_name": "n1", "zone": "package"}
POD = NODE | {"pod_id": "u"}


def _series(now_ms: int) -> Series:
    """Sites side by side in one server, told apart by the label `site`."""

    def scraped(minutes: float = 90, every_seconds: int = 30) -> list[tuple[int, float]]:
        return [(stamp, 1.0) for stamp in range(now_ms - int(minutes * 60_000), now_ms, every_seconds * 1000)]

    series: dict[str, list[tuple[int, float]]] = {}
    for site in ("healthy", "bare", "half", "mixed", "slow", "new", "podless"):
        samples = {"slow": scraped(every_seconds=240), "new": scraped(minutes=1.1)}.get(site, scraped())
        series[written(kepler.ACTIVE, site=site, cluster="a", **NODE)] = samples
        if site != "podless":
            series[written(kepler.PODS, site=site, cluster="a", **POD)] = samples
    series[written(kepler.ACTIVE, site="mixed", cluster="b", **NODE)] = scraped()
    for metric, labels in KSM.items():
        series[written(metric, site="healthy", **labels)] = scraped()
        if metric != "kube_job_owner":
            series[written(metric, site="half", **labels)] = scraped()
    legacy = {"container_name": "c", "container_id": "i", "mode": "dynamic"}
    series[written("kepler_container_joules_total", site="legacy", namespace="monitoring", **legacy)] = scraped()
    series[written("kepler_container_joules_total", site="unnamespaced", **legacy)] = scraped()
    series[written("DCGM_FI_DEV_POWER_USAGE", site="healthy", gpu="0", UUID="GPU-1", Hostname="n1")] = scraped()
    series[written("kepler_build_info", site="virtual")] = scraped()
    return series


@pytest.fixture(scope="module")
def server(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    data_dir = tmp_path_factory.mktemp("doctor") / "data"
    fill(prometheus_binary.promtool, data_dir, _series(int(time.time() * 1000)))
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        yield running


def settings(folder: Path, url: str, **cluster: object) -> Settings:
    place = {"grid_zone": "DE"} if "cloud" not in cluster else {}
    entry = {"name": "here", "prometheus": [{"url": url}], "pue": 1.2} | place | cluster
    return Settings.model_validate({"warehouse": {"path": str(folder / "w")}, "clusters": [entry]})


def findings(given: Settings, clock: RealClock, about: str = "here") -> list[Finding]:
    return [one for one in doctor.examine(given, given.clusters, {}, clock) if one.about == about]


@pytest.fixture
def of_site(tmp_path: Path, server: RunningServer, clock: RealClock, request: pytest.FixtureRequest) -> list[Finding]:
    endpoint = {"url": server.url, "selector": f'{{site="{request.param}"}}'}
    return findings(settings(tmp_path, server.url, prometheus=[endpoint]), clock)


def texts(found: list[Finding], level: int) -> str:
    return "\n".join(one.text for one in found if one.level == level)


@pytest.mark.parametrize("of_site", ["healthy"], indirect=True)
def test_a_healthy_cluster_is_all_ticks(of_site: list[Finding]) -> None:
    assert texts(of_site, FAIL) == ""
    assert texts(of_site, NOTE) == ""
    said = texts(of_site, OK)
    for part in (
        "answers (version 2.", "meter dcgm (dcgm-exporter): samples in the last 15m",
        "dcgm accounts for the gpu of 1 nodes in ", "meter kepler (0.10 or newer): 1 nodes, 1 pods in the last 15m",
        "kube-state-metrics: owners, pod start times and nodes are known", "raw samples reach back to 20",
        "runs may pause 3650.0 days at most (retention 10y)", "grid zone DE, providers static, lifecycle",
        "PUE 1.2 (config)",
    ):  # fmt: skip
        assert part in said


@pytest.mark.parametrize("of_site", ["bare"], indirect=True)
def test_no_kube_state_metrics_is_a_note_that_says_what_is_lost(of_site: list[Finding]) -> None:
    assert texts(of_site, FAIL) == ""
    assert "no kube-state-metrics: owners are guessed from pod names" in texts(of_site, NOTE)


@pytest.mark.parametrize("of_site", ["half"], indirect=True)
def test_a_part_of_kube_state_metrics_names_the_rest(of_site: list[Finding]) -> None:
    assert "kube-state-metrics lacks kube_job_owner: " in texts(of_site, NOTE)


@pytest.mark.parametrize("of_site", ["podless"], indirect=True)
def test_kepler_without_pods_is_a_note(of_site: list[Finding]) -> None:
    assert "no pod series: start Kepler with --kube.enable" in texts(of_site, NOTE)


@pytest.mark.parametrize("of_site", ["legacy"], indirect=True)
def test_old_keplers_own_namespace_label_is_pointed_out(of_site: list[Finding]) -> None:
    assert "meter kepler_legacy (Kepler 0.9 or older): samples in the last 15m" in texts(of_site, OK)
    assert "kepler_container_joules_total has a label namespace: it is that of Kepler's own pod" in texts(of_site, NOTE)


@pytest.mark.parametrize("of_site", ["unnamespaced"], indirect=True)
def test_old_kepler_without_that_label_is_no_note(of_site: list[Finding]) -> None:
    assert "meter kepler_legacy" in texts(of_site, OK)
    assert "label namespace" not in texts(of_site, NOTE)


def test_a_meter_that_the_config_leaves_out_is_named(tmp_path: Path, server: RunningServer, clock: RealClock) -> None:
    endpoint = {"url": server.url, "selector": '{site="legacy"}'}
    given = settings(tmp_path, server.url, prometheus=[endpoint], meters=["kepler"])
    found = findings(given, clock)
    assert "Kepler 0.9 or older is scraped too, but not among its meters" in texts(found, NOTE)
    assert "no series of any configured meter (Kepler 0.10 or newer, dcgm-exporter)" in texts(found, FAIL)


@pytest.mark.parametrize("of_site", ["virtual"], indirect=True)
def test_kepler_without_energy_points_to_virtual_machines(of_site: list[Finding]) -> None:
    assert "Kepler runs but shows no energy: most virtual machines have no RAPL" in texts(of_site, FAIL)


@pytest.mark.parametrize("of_site", ["nothing"], indirect=True)
def test_nothing_at_all_says_what_to_install(of_site: list[Finding]) -> None:
    assert "no series of any configured meter (Kepler 0.10 or newer, Kepler 0.9 or older, " in texts(of_site, FAIL)
    assert "in the last 15m: install one and scrape it" in texts(of_site, FAIL)


@pytest.mark.parametrize("of_site", ["mixed"], indirect=True)
def test_several_clusters_behind_one_selector_fail_with_the_selector_to_set(of_site: list[Finding]) -> None:
    assert "several cluster labels (a, b): set selector = '{cluster=\"...\"}'" in texts(of_site, FAIL)


@pytest.mark.parametrize("of_site", ["slow"], indirect=True)
def test_a_slow_scrape_is_a_note(of_site: list[Finding]) -> None:
    assert "scraped about every 240 s: two missed scrapes break energy.max_gap" in texts(of_site, NOTE)


@pytest.mark.parametrize("of_site", ["new"], indirect=True)
def test_a_kepler_that_is_a_minute_old_is_not_taken_for_a_slow_one(of_site: list[Finding]) -> None:
    assert "scraped about" not in texts(of_site, NOTE)


@pytest.mark.parametrize(
    ("place", "level", "says"),
    [
        ({"grid_zone": "IT-NO"}, NOTE, "static has no figure for IT-NO: it answers with the country's (IT)"),
        ({"cloud": "aws", "region": "us-east-1"}, NOTE, "static's figures for US-VA are lifecycle by assumption"),
        (
            {"cloud": "aws", "region": "us-east-1"},
            OK,
            "the cloud publishes PUE 1.15 (published:aws/us-east-1/2025 (region)): pue = { published = true } takes it",
        ),
        ({"grid_zone": "XX"}, FAIL, "no provider knows grid zone 'XX'"),
    ],
)
def test_the_price_of_a_place_is_explained(
    place: dict[str, object], level: int, says: str, tmp_path: Path, server: RunningServer, clock: RealClock
) -> None:
    endpoint = {"url": server.url, "selector": '{site="bare"}'}
    assert says in texts(findings(settings(tmp_path, server.url, prometheus=[endpoint], **place), clock), level)


PUE_FILE = "start_utc,end_utc,pue_ratio\n2020-01-01T00:00Z,2020-02-01T00:00Z,1.1\n"


@pytest.mark.parametrize(
    ("pue", "lines", "level", "says"),
    [
        (1.0, "", NOTE, "a PUE of 1 says that the site draws nothing besides its machines: is that so?"),
        ({"query": "vector(1.3)"}, "", OK, "PUE 1.3 by query:vector(1.3) for the hour from "),
        ({"query": "vector(1)"}, "", NOTE, "a PUE of 1 says that"),
        ({"query": "vector(0.9)"}, "", FAIL, "PUE 0.9 by query:vector(0.9) for the hour from "),
        ({"query": "nowhere{$selector}"}, "", NOTE, "it gives nothing there, so that hour has no grams"),
        (
            {"query": 'vector(1) or label_replace(vector(1), "feed", "b", "", "")'},
            "",
            FAIL,
            "series: let it give one, as sum(...) / sum(...) does",
        ),
        ({"csv": "?"}, "2020-02-01T00:00Z,2090-01-01T00:00Z,1.4", OK, "2 figures, the last to 2090-01-01T00:00Z"),
        ({"csv": "?"}, "", NOTE, "the last to 2020-02-01T00:00Z: later hours have no grams until it goes on"),
        ({"csv": "?"}, "2020-02-01T00:00Z,2090-01-01T00:00Z,0.4", FAIL, "line 3: a PUE of 0.4 is below 1"),
    ],
)
def test_the_pue_is_shown_with_its_source(
    pue: dict[str, str] | float, lines: str, level: int, says: str, tmp_path: Path, server: RunningServer,
    clock: RealClock,
) -> None:  # fmt: skip
    if isinstance(pue, dict) and "csv" in pue:
        (tmp_path / "pue.csv").write_text(PUE_FILE + lines, encoding="utf-8")
        pue = {"csv": str(tmp_path / "pue.csv")}
    endpoint = {"url": server.url, "selector": '{site="bare"}'}
    assert says in texts(findings(settings(tmp_path, server.url, prometheus=[endpoint], pue=pue), clock), level)


def test_a_file_without_the_clusters_own_figures_fails(tmp_path: Path, server: RunningServer, clock: RealClock) -> None:
    path = tmp_path / "pue.csv"
    path.write_text(
        "cluster,start_utc,end_utc,pue_ratio\nelse,2020-01-01T00:00Z,2090-01-01T00:00Z,1.1", encoding="utf-8"
    )
    found = findings(settings(tmp_path, server.url, pue={"csv": str(path)}), clock)
    assert f"{path} has no PUE of cluster here: its hours have no grams" in texts(found, FAIL)


def test_a_published_pue_is_shown_with_its_region_and_year(
    tmp_path: Path, server: RunningServer, clock: RealClock
) -> None:
    place = {"cloud": "aws", "region": "eu-central-1", "pue": {"published": True}}
    said = texts(findings(settings(tmp_path, server.url, **place), clock), OK)
    assert "(published:aws/eu-central-1/2025 (region))" in said
    assert "the cloud publishes" not in said


def test_a_dead_cluster_does_not_hide_the_others_nor_the_stores(
    tmp_path: Path, server: RunningServer, clock: RealClock
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    base = settings(tmp_path, server.url)
    clusters = [
        base.clusters[0].model_dump() | {"name": "dead", "prometheus": [{"url": dead}]},
        base.clusters[0].model_dump(),
    ]
    both = Settings.model_validate({"warehouse": {"path": str(tmp_path / "w")}, "clusters": clusters})
    found = list(doctor.examine(both, both.clusters, {}, clock))
    assert [(one.level, one.text) for one in found if one.about == "dead"] == [
        (FAIL, f"cannot reach {dead}: connection refused")
    ]
    assert len([one for one in found if one.about == "here"]) > 4
    assert [one.level for one in found if one.about == "stores"] == [NOTE]
    assert [one.level for one in found if one.about == "warehouse"] == [OK]


def test_what_the_server_warns_of_is_passed_on(tmp_path: Path, clock: RealClock) -> None:
    with misbehaving(data([], warnings=["store-2 is away"])) as odd:
        assert "the server warns: store-2 is away" in texts(findings(settings(tmp_path, odd.url), clock), NOTE)


def test_the_doctor_does_not_wait_for_a_server_that_is_down(tmp_path: Path, clock: RealClock) -> None:
    with misbehaving(failure(503, "starting", Retry_After="20")) as odd:
        began = time.monotonic()
        found = findings(settings(tmp_path, odd.url), clock)
    assert texts(found, FAIL) == f"{odd.url} answers 503: starting"
    assert time.monotonic() - began < 18


@pytest.mark.parametrize(("window", "level", "reach"), [("30d", OK, "30.0 days"), (None, NOTE, "1.0 h")])
def test_a_prometheus_store_tells_its_horizon_and_how_to_widen_it(
    window: str | None, level: int, reach: str, tmp_path: Path, clock: RealClock
) -> None:
    with real_prometheus(tmp_path / "store", window=window) as store:
        found = _of_store(tmp_path, store.url, clock)
    assert found[0].level == level
    assert found[0].text.startswith(f"takes hours up to {reach} old (Prometheus: out-of-order window ")
    assert "; to widen it set storage.tsdb.out_of_order_time_window" in found[0].text
    assert (found[1].level, found[1].text) == (OK, "prometheus: every sample counts once")


@pytest.mark.parametrize("dedup", ["1ms", None])
def test_a_victoria_metrics_store_must_count_a_sample_once(dedup: str | None, tmp_path: Path, clock: RealClock) -> None:
    with real_victoria(tmp_path / "store", dedup=dedup) as store:
        found = _of_store(tmp_path, store.url, clock)
    assert found[-1].level == (OK if dedup else FAIL)
    assert ("-dedup.minScrapeInterval=1ms" in found[-1].text) == (dedup is None)


def _of_store(folder: Path, url: str, clock: RealClock) -> list[Finding]:
    base = settings(folder, f"http://127.0.0.1:{free_port()}").model_dump()
    given = Settings.model_validate(base | {"remote_write": [{"url": f"{url}/api/v1/write", "name": "s"}]})
    return findings(given, clock, "store s")


def test_the_command_prints_a_line_a_finding_and_ends_with_65_when_one_fails(
    tmp_path: Path, server: RunningServer
) -> None:
    entry = f'prometheus = [{{{{ url = "{server.url}", selector = \'{{{{site="{{site}}"}}}}\' }}}}]'
    for site, code in (("healthy", 0), ("virtual", 65)):
        folder = tmp_path / site
        folder.mkdir()
        product = Product(folder, server.url, CONFIG.replace('prometheus_url = "{url}"', entry.replace("{site}", site)))
        said = product.call("doctor")
        assert (said.code, said.errors) == (code, [])
        assert {line[0] for line in said.out.splitlines()} == ({"✓", "!"} if code == 0 else {"✓", "!", "✗"})
        assert [path.name for path in product.warehouse.iterdir()] == [".locks"], "the doctor writes no table"
