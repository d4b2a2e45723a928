"""A cluster's servers as its configuration names them."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.meters import dcgm, kepler, kepler_legacy, scaphandre
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.merging import MergingServer
from pipeline.sources.prometheus.servers import Servers
from pipeline.window import Clock

# Counters of whole machines: where one falls and is made up for, a server turned to another replica.
TELLING = {
    kepler.NAME: (kepler.ACTIVE, kepler.IDLE, kepler.RAW),
    kepler_legacy.NAME: tuple(kepler_legacy.NODE.format(component) for component in kepler_legacy.COMPONENTS),
    scaphandre.NAME: (scaphandre.SOCKETS, scaphandre.HOST),
    dcgm.NAME: dcgm.ENERGY,
}


def open_servers(
    shards: Sequence[Sequence[PrometheusEndpoint]],
    http: HttpSettings,
    env: Mapping[str, str],
    clock: Clock,
    max_gap_ms: int,
    on_warning: Callable[[str], None],
) -> Servers[BulkServer]:
    """All servers of a cluster; none is asked yet."""
    telling = [metric for metrics in TELLING.values() for metric in metrics]

    def opened(endpoint: PrometheusEndpoint) -> BulkServer:
        if endpoint.merges_replicas:
            return MergingServer(endpoint, http, env, clock, on_warning, telling, max_gap_ms)
        return BulkServer(endpoint, http, env, clock, on_warning)

    return Servers([[opened(endpoint) for endpoint in replicas] for replicas in shards], clock, on_warning)


def older_scrapes(server: BulkServer, meter: str) -> set[tuple[str, int]]:
    """Node and stamp of scrapes of a meter that were older than those shown before them, as far as was read."""
    skews = server.skews if isinstance(server, MergingServer) else ()
    return {(skew.node, skew.stamp_ms) for skew in skews if skew.metric in TELLING[meter]}
