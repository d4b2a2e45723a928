"""A user's `selector` is in every selector that is ever written: another cluster's series are never read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import promql_parser as parser
import pytest

from pipeline import doctor
from pipeline.config import load
from pipeline.meters import METERS
from pipeline.settings import Settings
from pipeline.shares import Extract
from pipeline.site import open_site
from pipeline.sources.sockets import read_sockets
from pipeline.starts import UNKNOWN
from pipeline.window import Window
from tests.conftest import RealClock
from tests.misbehaving import Misbehaving, data, misbehaving
from tests.product import CONFIG

HOSTILE = 'prod"} or {x="'


def selectors(query: str) -> Iterator[parser.VectorSelector]:
    found: list[parser.VectorSelector] = []

    def enter(node: Any) -> None:  # noqa: ANN401 # the parser's nodes share no base with attributes
        if isinstance(node, parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, parser.VectorSelector):
            found.append(node)

    parser.walk(parser.parse(query), enter, lambda _: None)
    yield from found


def configured(server: Misbehaving, tmp_path: Path) -> Settings:
    escaped = HOSTILE.replace('"', '\\"')
    entry = f'prometheus = [{{ url = "{server.url}", selector = \'{{cluster="{escaped}",zone_of!~"x"}}\' }}]'
    text = CONFIG.replace('prometheus_url = "{url}"', "PROMETHEUS").format(warehouse=tmp_path / "w")
    (tmp_path / "config.toml").write_text(text.replace("PROMETHEUS", entry))
    return load(tmp_path / "config.toml", {})


@pytest.mark.parametrize("result_type", ["vector", "matrix"])
def test_every_query_of_a_run_and_of_the_doctor_carries_the_users_selector(
    result_type: str, tmp_path: Path, clock: RealClock
) -> None:
    with misbehaving(data([], result_type)) as server:
        settings = configured(server, tmp_path)
        site = open_site("prod-eu", settings, {}, clock)
        site.oldest_ms(clock.now())
        window = Window.of_hour(datetime(2026, 11, 1, 8, tzinfo=UTC))
        site.fold(window)
        for meter in METERS.values():  # which the fold leaves out where nothing shows them
            meter.read(Extract(site.server, site.server.matchers, window, 600_000, site.ceilings, UNKNOWN))
        read_sockets(site.server, site.server.matchers, {"n1": (0, 3_600_000)})
        asked_by_run = len(server.queries)
        list(doctor.examine(settings, settings.clusters, {}, clock))
    assert asked_by_run >= 30
    assert len(server.queries) > asked_by_run + 5
    written = [one for query in server.queries for one in selectors(query)]
    assert len(written) >= len(server.queries) - 2, "all but `vector(1)`"
    for one in written:
        conditions = {(m.name, m.value) for m in one.matchers.matchers}
        assert {("cluster", HOSTILE), ("zone_of", "x")} <= conditions, str(one)
