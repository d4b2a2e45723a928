"""What a configuration may say of hosts, guests and platform meters, and what of it cannot be meant."""

from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.settings import ClusterSettings

SMALL = """
[[clusters]]
name = "prod-eu"
prometheus_url = "http://127.0.0.1:9090"
grid_zone = "DE"
pue = 1.2
"""
HOST = '[[clusters.hosts]]\nnode = "hv-1"\nguests = ["worker-3", "worker-4"]\ncount = "host"\n'


def read(tmp_path: Path, text: str) -> ClusterSettings:
    path = tmp_path / "carbon-etl.toml"
    path.write_text(SMALL + text, encoding="utf-8")
    return load(path, {}).clusters[0]


def digest(tmp_path: Path, text: str) -> str:
    path = tmp_path / "carbon-etl.toml"
    path.write_text(SMALL + text, encoding="utf-8")
    settings = load(path, {})
    return settings.clusters[0].digest(settings.energy)


def test_every_key_is_read(tmp_path: Path) -> None:
    cluster = read(
        tmp_path,
        'level = "container"\nprocesses = false\n' + HOST + '[clusters.platform]\nmetric = "pdu_joules_total"\n'
        'unit = "joules"\nnode_label = "host"\nselector = \'{outlet="a"}\'\nuse = "scale"\nincludes = ["psu", "pue"]\n',
    )  # fmt: skip
    assert (cluster.level, cluster.processes) == ("container", False)
    (host,) = cluster.hosts
    assert (host.node, host.guests, host.count) == ("hv-1", ("worker-3", "worker-4"), "host")
    assert cluster.platform is not None
    assert cluster.platform.model_dump() == {
        "metric": "pdu_joules_total", "unit": "joules", "node_label": "host", "selector": '{outlet="a"}',
        "use": "scale", "includes": ("psu", "pue"),
    }  # fmt: skip


def test_without_a_word_pods_are_read_with_processes_and_nothing_is_checked_or_left_out(tmp_path: Path) -> None:
    cluster = read(tmp_path, "")
    assert (cluster.level, cluster.processes, cluster.hosts, cluster.platform) == ("pod", True, (), None)
    bare = read(tmp_path, "[clusters.platform]\n").platform
    assert bare is not None
    assert (bare.metric, bare.unit, bare.use, bare.includes) == ("kepler_platform_watts", "watts", "check", ())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HOST.replace('"worker-4"', '"hv-1"'), "hosts: 'hv-1' is its own guest"),
        (
            HOST + HOST.replace("hv-1", "worker-3").replace('"worker-3", "worker-4"', '"x"'),
            "'worker-3' is both a host and",
        ),
        (HOST + HOST.replace("hv-1", "hv-2"), "hosts: 'worker-3' is a guest twice: a node runs on one host"),
        (HOST.replace("worker-4", "worker-3"), "hosts: 'worker-3' is a guest twice"),
        (HOST + HOST.replace("worker", "w"), "hosts: 'hv-1' is a host twice: write all its guests into one entry"),
        (HOST.replace('"worker-3", "worker-4"', ""), "hosts.0.guests: "),
        (HOST.replace('count = "host"', ""), "clusters.0.hosts.0.count is missing"),
        (HOST.replace('"host"', '"both"'), "hosts.0.count: 'both' is none of host, guests"),
        (HOST.replace("guests =", "guest ="), "hosts.0.guest: did you mean 'guests'?"),
        ('level = "process"', "level: 'process' is none of pod, container"),
        ("processes = 3", "processes: Input should be a valid boolean"),
        ('[clusters.platform]\nmetric = "a{b}"', "platform.metric: String should match"),
        ('[clusters.platform]\nnode_label = "a-b"', "platform.node_label: String should match"),
        ('[clusters.platform]\nunit = "kwh"', "platform.unit: 'kwh' is none of watts, joules"),
        ('[clusters.platform]\nuse = "add"', "platform.use: 'add' is none of check, scale"),
        ('[clusters.platform]\nincludes = ["pue"]', 'includes = ["pue"]: what holds the site holds the power supplies'),
        ('[clusters.platform]\nincludes = ["psu", "psu"]', "includes names something twice"),
        ('[clusters.platform]\nmetrics = "x"', "platform.metrics: did you mean 'metric'?"),
    ],
)
def test_each_mistake_is_named(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'level = "container"', "processes = false", HOST, "[clusters.platform]", '[clusters.platform]\nuse = "scale"',
        '[clusters.platform]\nincludes = ["psu"]',
    ],
)  # fmt: skip
def test_the_digest_changes_with_whatever_decides_a_figure(text: str, tmp_path: Path) -> None:
    assert digest(tmp_path, text) != digest(tmp_path, "")
