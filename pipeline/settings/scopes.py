"""What a cluster's readings hold besides processors: guests inside hosts, overhead inside platform meters."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pipeline.credentials import Part

METRIC = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"

NodeName = Annotated[str, Field(min_length=1)]


class HostSettings(Part):
    """One machine and the nodes that run on it, named as the meters name them: the same joules read twice."""

    node: NodeName
    guests: Annotated[tuple[NodeName, ...], Field(min_length=1)]
    count: Literal["host", "guests"]


class PlatformSettings(Part):
    """A meter of whole machines: the series, what it counts in, and what its figures hold by declaration."""

    metric: Annotated[str, StringConstraints(pattern=f"^{METRIC}$")] = "kepler_platform_watts"
    unit: Literal["watts", "joules"] = "watts"
    node_label: Annotated[str, StringConstraints(pattern=f"^{LABEL}$")] = "node_name"
    selector: str = "{}"
    use: Literal["check", "scale"] = "check"
    includes: tuple[Literal["psu", "pue"], ...] = ()

    @model_validator(mode="after")
    def _overhead(self) -> Self:
        if len(set(self.includes)) < len(self.includes):
            raise ValueError("includes names something twice")
        if self.includes == ("pue",):
            raise ValueError('includes = ["pue"]: what holds the site holds the power supplies, too: ["psu", "pue"]')
        return self


def refuse_loops(hosts: Iterable[HostSettings]) -> None:
    """A map in which each node is read once or inside one other.

    Raises:
        ValueError: a node on both sides, twice on one, or its own guest.
    """
    held = list(hosts)
    outer = Counter(host.node for host in held)
    inner = Counter(guest for host in held for guest in host.guests)
    for host in held:
        if host.node in host.guests:
            raise ValueError(f"hosts: {host.node!r} is its own guest")
    for name in sorted(outer.keys() & inner.keys()):
        raise ValueError(f"hosts: {name!r} is both a host and a guest: name the guests of the outermost machine only")
    for name in sorted(name for name, times in outer.items() if times > 1):
        raise ValueError(f"hosts: {name!r} is a host twice: write all its guests into one entry")
    for name in sorted(name for name, times in inner.items() if times > 1):
        raise ValueError(f"hosts: {name!r} is a guest twice: a node runs on one host")
