"""Who the pods may talk to: the policies are asked as a cluster's network would ask them."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.deployment.destinations import _vendors, destinations
from pipeline.deployment.objects import Object
from pipeline.errors import ConfigError
from pipeline.providers import WEB
from tests.deploy.deployed import AMAZON, LARGE, SMALL, made, objects, settings


@dataclass(frozen=True)
class Peer:
    """Somebody at the other end: a pod with its namespace and labels, or an address outside."""

    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    address: str = ""


PROMETHEUS = Peer("monitoring", {"app.kubernetes.io/name": "prometheus"})
GRAFANA = Peer("monitoring", {"app.kubernetes.io/name": "grafana"})
DNS = Peer("kube-system", {"k8s-app": "kube-dns"})
TENANT = Peer("shop", {"app": "till"})
VENDOR, INSIDE, METADATA = Peer(address="203.0.113.7"), Peer(address="10.9.8.7"), Peer(address="169.254.169.254")


def allows(policy: Object, direction: str, peer: Peer, port: int, protocol: str = "TCP") -> bool:
    """The rule of NetworkPolicy: any rule whose peers and ports both match; none by an empty list."""
    sides = {"egress": "to", "ingress": "from"}
    return any(
        {"protocol": protocol, "port": port} in rule["ports"]
        and any(_matches(entry, peer, policy["metadata"]["namespace"]) for entry in rule[sides[direction]])
        for rule in policy["spec"][direction]
    )


def _matches(entry: Object, peer: Peer, own: str) -> bool:
    if "ipBlock" in entry:
        if not peer.address:
            return False
        address = ipaddress.ip_address(peer.address)
        inside = [address in ipaddress.ip_network(block) for block in entry["ipBlock"].get("except", [])]
        return address in ipaddress.ip_network(entry["ipBlock"]["cidr"]) and not any(inside)
    namespace = entry.get("namespaceSelector", {}).get("matchLabels", {"kubernetes.io/metadata.name": own})
    labels = entry.get("podSelector", {}).get("matchLabels", {})
    return namespace["kubernetes.io/metadata.name"] == peer.namespace and labels.items() <= peer.labels.items()


def policy_of(name: str, text: str = SMALL) -> Object:
    return objects(made(text))["NetworkPolicy", name]


def pod_of(component: str) -> Peer:
    return Peer("carbon-etl", {"app.kubernetes.io/name": "carbon-etl", "app.kubernetes.io/component": component})


def test_the_pipeline_reaches_names_prometheus_and_its_store_and_nobody_else() -> None:
    policy = policy_of("carbon-etl")
    assert allows(policy, "egress", DNS, 53, "UDP")
    assert allows(policy, "egress", DNS, 53)
    assert allows(policy, "egress", PROMETHEUS, 9090)
    assert allows(policy, "egress", pod_of("store"), 8428)
    assert not allows(policy, "egress", PROMETHEUS, 443)
    for peer in (TENANT, VENDOR, INSIDE, METADATA):
        for port in (53, 80, 443, 8428, 9090):
            assert not allows(policy, "egress", peer, port), (peer, port)


def test_a_vendor_is_reached_in_the_public_internet_only() -> None:
    text = SMALL + '[intensity]\nproviders = ["electricity_maps"]\nelectricity_maps = { token_env = "T" }\n'
    policy = policy_of("carbon-etl", text)
    assert allows(policy, "egress", VENDOR, 443)
    assert allows(policy, "egress", Peer(address="2001:db8::7"), 443)
    assert not allows(policy, "egress", VENDOR, 80)
    for private in (INSIDE, METADATA, Peer(address="172.16.0.1"), Peer(address="fd00::1"), Peer(address="fe80::1")):
        assert not allows(policy, "egress", private, 443), private


def test_a_name_outside_of_the_cluster_may_lie_in_a_private_network() -> None:
    """A NetworkPolicy knows no names; a cloud's metadata stays closed."""
    text = SMALL.replace("http://prometheus.monitoring.svc:9090", "https://prometheus.example:8443")
    policy = policy_of("carbon-etl", text)
    assert allows(policy, "egress", VENDOR, 8443)
    assert allows(policy, "egress", INSIDE, 8443)
    assert not allows(policy, "egress", METADATA, 8443)
    assert not allows(policy, "egress", INSIDE, 443)


def test_nobody_reaches_the_pipeline_or_the_alerts_and_the_store_calls_nobody() -> None:
    for name in ("carbon-etl", "carbon-etl-alerts"):
        assert policy_of(name)["spec"]["ingress"] == []
    assert policy_of("carbon-etl-store")["spec"]["egress"] == []


def test_the_store_is_reached_by_who_writes_and_who_reads_it() -> None:
    policy = policy_of("carbon-etl-store")
    for peer in (pod_of("pipeline"), pod_of("alerts"), GRAFANA):
        assert allows(policy, "ingress", peer, 8428), peer
    for peer in (PROMETHEUS, TENANT, VENDOR, INSIDE, Peer("shop", GRAFANA.labels)):
        assert not allows(policy, "ingress", peer, 8428), peer


def test_the_alerts_reach_the_store_and_the_alertmanager() -> None:
    policy = policy_of("carbon-etl-alerts")
    assert allows(policy, "egress", pod_of("store"), 8428)
    assert allows(policy, "egress", Peer("monitoring"), 9093)
    assert not allows(policy, "egress", Peer("monitoring"), 9090)


def test_every_policy_closes_both_directions_of_its_own_pods() -> None:
    for (kind, _), one in objects(made()).items():
        if kind == "NetworkPolicy":
            assert one["spec"]["policyTypes"] == ["Ingress", "Egress"]
            assert one["spec"]["podSelector"]["matchLabels"].items() == one["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("http://prometheus:9090", Peer("carbon-etl")),
        ("http://prometheus.observability.svc:9090", Peer("observability")),
        ("http://prometheus.observability.svc.cluster.local:9090", Peer("observability")),
        ("http://10.2.3.4:9090", Peer(address="10.2.3.4")),
        ("http://[2001:db8::1]:9090", Peer(address="2001:db8::1")),
    ],
)
def test_an_address_in_the_cluster_opens_its_namespace_or_itself_only(url: str, peer: Peer) -> None:
    policy = policy_of("carbon-etl", SMALL.replace("http://prometheus.monitoring.svc:9090", url))
    assert allows(policy, "egress", peer, 9090)
    for other in {PROMETHEUS.namespace, "carbon-etl", "shop", "observability"} - {peer.namespace}:
        assert not allows(policy, "egress", Peer(other), 9090), other
    assert not allows(policy, "egress", VENDOR, 9090)


def test_everybody_whom_a_run_calls_is_listed_once(tmp_path: Path) -> None:
    called = [(one.host, one.port, one.is_public) for one in destinations(settings(tmp_path, LARGE))]
    assert called == sorted(
        [
            ("mimir.example", 8443, False),
            ("thanos.example", 443, False),
            ("10.2.3.4", 9090, False),
            ("store.example", 443, False),
            ("api.electricitymaps.com", 443, True),
            ("reseaux-energies-rte.opendatasoft.com", 443, True),
        ]
    )


def test_every_provider_of_the_web_has_an_address() -> None:
    assert set(_vendors()) == set(WEB)


def test_what_lies_at_amazon_may_have_a_private_address(tmp_path: Path) -> None:
    called = [one.host for one in destinations(settings(tmp_path, AMAZON))]
    assert called == ["aps-workspaces.eu-central-1.amazonaws.com", "s3.amazonaws.com", "sts.eu-central-1.amazonaws.com"]
    policy = policy_of("carbon-etl", AMAZON)
    assert allows(policy, "egress", INSIDE, 443)
    assert not allows(policy, "egress", METADATA, 443)


def test_a_vendor_behind_an_address_of_ones_own_is_not_public(tmp_path: Path) -> None:
    text = (
        SMALL
        + '[intensity]\nproviders = ["neso"]\nfactor_type = "direct"\nneso = { base_url = "http://proxy.example" }\n'
    )
    assert ("proxy.example", 80, False) in [
        (d.host, d.port, d.is_public) for d in destinations(settings(tmp_path, text))
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"])  # noqa: S104 # refused
def test_an_address_that_would_be_the_pod_itself_is_refused(host: str) -> None:
    said = rf"in a pod {re.escape(host.strip('[]'))}:\d+ is the pod itself: .*http://carbon-etl-store\.carbon-etl\.svc:8428"
    store = f'[[remote_write]]\nurl = "http://{host}:8428/api/v1/write"\n'
    grid = f'[intensity]\nproviders = ["eia"]\neia = {{ token_env = "T", base_url = "http://{host}:8080" }}\n'
    for text in (SMALL.replace("prometheus.monitoring.svc", host), SMALL + store, SMALL + grid):
        with pytest.raises(ConfigError, match=said):
            made(text)
