"""Whole commands over a warehouse in an object store, as people start them: `make test-s3`."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.demo.servers import RunningServer
from pipeline.job import Workers
from pipeline.window import Window
from tests.delta.conftest import AT_LENGTH, CLUSTER, WINDOW, Setting, figures
from tests.delta.test_readers import versions
from tests.product import Product

pytestmark = AT_LENGTH
TWO_DAYS = Window(WINDOW.start - timedelta(hours=10), WINDOW.end)


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_workers_commit_days_of_their_own_and_the_run_sees_them(on_s3: Setting, engine: str, tmp_path: Path) -> None:
    workers = Workers(2, engine)  # type: ignore[arg-type] # one of two words
    alone = replace(on_s3, folder=tmp_path, path=str(tmp_path / "warehouse"))
    expected = alone.backfill(window=TWO_DAYS)
    report = on_s3.backfill(workers=workers, window=TWO_DAYS)
    assert (report.exit_code, report.clusters[0].hours_rewritten) == (0, expected.clusters[0].hours_rewritten)
    assert figures(on_s3) == figures(alone)


def test_stores_show_what_an_object_store_holds_and_are_written_once(
    on_s3: Setting, victoria_metrics: RunningServer
) -> None:
    more = f'[[remote_write]]\nname = "vm"\nurl = "{victoria_metrics.url}/api/v1/write"\n'
    publishing = replace(on_s3, more=more)
    first, second = publishing.backfill(), publishing.backfill()
    assert [one.exit_code for one in (first, second)] == [0, 0], (first.error_lines(), second.error_lines())
    assert first.clusters[0].stores[0].hours_published == 3
    assert second.clusters[0].stores[0].samples_written == 0


def test_a_run_reprices_prunes_nothing_young_and_repairs_nothing_sound(on_s3: Setting, tmp_path: Path) -> None:
    cached = replace(on_s3, cache=tmp_path / "cache")
    assert cached.backfill().exit_code == 0
    dearer = replace(cached, pue=1.5)
    product = Product(on_s3.folder, on_s3.prometheus)
    product.config.write_text(dearer.config.read_text())
    before = versions(on_s3)
    dry = product.call("reprice", "--since", WINDOW.start.isoformat(), "--dry-run", env=on_s3.env)
    assert versions(on_s3) == before
    done = product.call("reprice", "--since", WINDOW.start.isoformat(), env=on_s3.env)
    again = product.call("repair", "--cluster", CLUSTER, env=on_s3.env)
    asked = product.call("sql", "--format", "csv", "select distinct pue_ratio, revision from emissions", env=on_s3.env)
    assert [one.code for one in (dry, done, again, asked)] == [0, 0, 0, 0], (dry, done, again, asked)
    assert asked.out.splitlines()[1:] == ["1.5,1"]
    assert "no faults" in again.out
    examined = product.call("doctor", env=on_s3.env)
    assert f"{on_s3.path}: of two commits at once one is refused (conditional PUT)" in examined.out
