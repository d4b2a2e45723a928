"""One cluster: where its samples are, how they are folded and priced."""

import hashlib
import json
from typing import Any, Literal, Self, TypeAlias

from pydantic import model_validator

from pipeline.credentials import Part
from pipeline.settings.energy import EnergySettings
from pipeline.settings.intensity import IntensitySettings
from pipeline.settings.pue import PueSettings, PueTable
from pipeline.settings.scopes import HostSettings, PlatformSettings, refuse_loops
from pipeline.settings.servers import PrometheusEndpoint
from pipeline.settings.values import ClusterName, Moment

PRICED = {"grid_zone", "cloud", "region", "pue", "intensity"}
ADDRESSES = {  # where figures and credentials come from, not what they say
    "base_url", "token_env", "token_file", "username_env", "username_file", "password_env", "password_file",
}  # fmt: skip
STEPS = {"1h": 60, "30m": 30, "15m": 15, "5m": 5}

CpuMeter: TypeAlias = Literal["kepler", "kepler_legacy", "scaphandre"]
GpuMeter: TypeAlias = Literal["dcgm", "kepler", "kepler_legacy"]


class ClusterSettings(Part):
    """One Kubernetes cluster (or set of hosts): where its samples are and how it is priced."""

    name: ClusterName
    prometheus: tuple[PrometheusEndpoint, ...]
    grid_zone: str | None = None
    cloud: Literal["aws", "gcp", "azure"] | None = None
    region: str | None = None
    pue: PueSettings
    meters: tuple[CpuMeter, ...] = ("kepler", "kepler_legacy", "scaphandre")
    gpu_meters: tuple[GpuMeter, ...] = ("dcgm", "kepler")
    level: Literal["pod", "container"] = "pod"
    processes: bool = True
    hosts: tuple[HostSettings, ...] = ()
    platform: PlatformSettings | None = None
    energy_step: Literal["1h", "30m", "15m", "5m"] = "1h"
    start: Moment | None = None
    intensity: IntensitySettings = IntensitySettings()

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, values: Any) -> Any:  # noqa: ANN401 # the type of a raw TOML table
        if isinstance(values, dict) and "prometheus_url" in values:
            values = dict(values)
            if "prometheus" in values:
                raise ValueError("give prometheus_url or prometheus, not both")
            values["prometheus"] = [{"url": values.pop("prometheus_url")}]
        return values

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.grid_zone is None) == (self.cloud is None):
            raise ValueError(
                'say where its power comes from: grid_zone = "DE", or cloud = "aws" with region = "eu-central-1"'
            )
        if (self.cloud is None) != (self.region is None):
            raise ValueError("cloud and region go together")
        if isinstance(self.pue, PueTable) and self.pue.published and self.cloud is None:
            raise ValueError("pue = { published = true } is of a cloud's region: give cloud and region, or pue = 1.2")
        for key, meters in (("meters", self.meters), ("gpu_meters", self.gpu_meters)):
            if len(set(meters)) < len(meters):
                raise ValueError(f"{key} names a meter twice: the first of equally covered ones accounts")
        if not self.meters and not self.gpu_meters:
            raise ValueError("meters and gpu_meters are both empty: nothing would be measured")
        refuse_loops(self.hosts)
        if not self.prometheus:
            raise ValueError("prometheus is empty: say where its samples are")
        same = [endpoint.model_dump(exclude={"replica_of", "transport"}) for endpoint in self.prometheus]
        twice = next((one["url"] for one in same if same.count(one) > 1), None)
        if twice is not None:
            raise ValueError(
                f"prometheus names {twice} twice, with one selector: replicas and shards are servers apart"
            )
        return self

    @property
    def shards(self) -> list[list[PrometheusEndpoint]]:
        """The endpoints in the config's order, those of one `replica_of` together."""
        found: dict[tuple[str, object], list[PrometheusEndpoint]] = {}
        for number, endpoint in enumerate(self.prometheus):
            key = ("alone", number) if endpoint.replica_of is None else ("replicas", endpoint.replica_of)
            found.setdefault(key, []).append(endpoint)
        return list(found.values())

    @property
    def step_minutes(self) -> int:
        """Length of an energy step in minutes."""
        return STEPS[self.energy_step]

    @property
    def pue_included(self) -> str | None:
        """The source to name where the platform meter holds the PUE already; None where it does not."""
        platform = self.platform
        return f"included:{platform.metric}" if platform is not None and "pue" in platform.includes else None

    def digest(self, energy: EnergySettings) -> str:
        """Twelve hex digits that change when anything that decides this cluster's joules changes."""
        decides = self.model_dump(mode="json", exclude={"prometheus", "start", *PRICED}) | energy.model_dump(
            mode="json"
        )
        if any(endpoint.merges_replicas for endpoint in self.prometheus):
            decides["merges_replicas"] = [endpoint.merges_replicas for endpoint in self.prometheus]
        return _hash(decides)

    def price_digest(self) -> str:
        """Twelve hex digits that change when anything that decides its grams, given joules, changes."""
        decides = self.model_dump(mode="json", include=PRICED) | {"pue_included": self.pue_included}
        kept = {"providers", "factor_type", "accept", "strict", *self.intensity.providers}
        decides["intensity"] = {name: value for name, value in decides["intensity"].items() if name in kept}
        for table in decides["intensity"].values():
            for key in ADDRESSES.intersection(table) if isinstance(table, dict) else ():
                del table[key]
        return _hash(decides)


def _hash(decides: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
