"""Who may talk to whom: NetworkPolicies that let through what a configuration calls and nothing else."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pipeline.deployment.destinations import Destination
from pipeline.deployment.objects import Object, labels, metadata

OF_NAMESPACE = "kubernetes.io/metadata.name"
NODE_LOCAL_DNS = "169.254.20.10/32"
LINK_LOCAL = ["169.254.0.0/16", "fe80::/10"]  # a cloud's metadata service among them
PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
Key = tuple[str, ...]


def policy(name: str, namespace: str, component: str, *, inwards: Sequence[Object], out: Sequence[Object]) -> Object:
    """The pods of `component` are reached and reach as the rules say; by no rule nobody."""
    spec = {
        "podSelector": {"matchLabels": labels(component)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": list(inwards),
        "egress": list(out),
    }
    about = metadata(name, namespace, component)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": about, "spec": spec}


def ports(*numbers: int, protocols: Sequence[str] = ("TCP",)) -> list[Object]:
    """Ports of pods, not of their Services."""
    return [{"protocol": protocol, "port": number} for number in numbers for protocol in protocols]


def of_namespace(name: str, pods: Object | None = None) -> Object:
    """A peer: a namespace, or some pods of it."""
    peer: Object = {"namespaceSelector": {"matchLabels": {OF_NAMESPACE: name}}}
    return peer | ({"podSelector": {"matchLabels": pods}} if pods else {})


def name_service() -> Object:
    """The way to the cluster's DNS, by its Service or by the cache on each node."""
    peers = [of_namespace("kube-system"), {"ipBlock": {"cidr": NODE_LOCAL_DNS}}]
    return {"to": peers, "ports": ports(53, protocols=("UDP", "TCP"))}


def egress(destinations: Iterable[Destination], namespace: str) -> list[Object]:
    """The way to each destination: a Service's namespace, a number, or, for other names, the world on that port.

    A NetworkPolicy knows no names, so a name outside of the cluster is any address: of the public internet, where
    the destination is known to lie there, else any but the link-local ones.
    """
    found: dict[Key, set[int]] = defaultdict(set)
    for one in destinations:
        found[_key(one, namespace)].add(one.port)
    return [{"to": _peers(key), "ports": ports(*sorted(numbers))} for key, numbers in sorted(found.items())]


def _key(one: Destination, namespace: str) -> Key:
    host = one.host.removesuffix(".").removesuffix(".cluster.local")
    if one.address is not None:
        return ("number", f"{one.address}/{one.address.max_prefixlen}")
    if "." not in host:
        return ("namespace", namespace)
    if host.endswith(".svc"):
        return ("namespace", host.split(".")[-2])
    return ("public",) if one.is_public else ("world",)


def _peers(key: Key) -> list[Object]:
    if key[0] == "namespace":
        return [of_namespace(key[1])]
    if key[0] == "number":
        return [{"ipBlock": {"cidr": key[1]}}]
    closed = LINK_LOCAL + (PRIVATE if key[0] == "public" else [])
    return [_everything("0.0.0.0/0", closed), _everything("::/0", closed)]


def _everything(cidr: str, closed: Sequence[str]) -> Object:
    """All addresses of one family but those."""
    return {"ipBlock": {"cidr": cidr, "except": [block for block in closed if (":" in block) == (":" in cidr)]}}
