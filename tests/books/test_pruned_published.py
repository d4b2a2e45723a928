"""A store keeps what it shows of pruned hours, whatever is asked: their amounts by the hour are known to it alone."""

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.books.pruning import prune
from pipeline.publish_stored import publish_stored
from pipeline.reprice import reprice
from pipeline.sinks.warehouse import Warehouse
from tests.prices.stored import CLUSTER, START, fold, job, learn, vintage
from tests.prices.test_reprice_published import GRAMS, HOURS, NOW, assert_equal, published
from tests.sinks.servers import real_prometheus

pytestmark = pytest.mark.real
HOUR = timedelta(hours=1)


def test_pruned_hours_are_neither_corrected_nor_taken_back(tmp_path: Path) -> None:
    with real_prometheus(tmp_path / "store") as server:
        given = published(tmp_path, server)
        learn(Warehouse(tmp_path / "warehouse"), *(vintage(hour, 100.0, HOURS[-1]) for hour in HOURS))
        fold(given, HOURS, NOW)
        reprice(job(given, NOW), [CLUSTER], None)
        (pruned,) = prune(job(given, NOW + timedelta(days=430)), [CLUSTER], "13mo")
        assert pruned.days == 1
        shown = server.query(GRAMS, (HOURS[-1] + HOUR).timestamp())
        (outcome,) = publish_stored(job(given, NOW + HOUR), [CLUSTER], START).clusters
        assert [(store.samples_written, store.hours_unpublished) for store in outcome.stores] == [(0, 0)]
        assert server.query(GRAMS, (HOURS[-1] + HOUR).timestamp()) == shown
        assert_equal(tmp_path, server)
