"""carbon-etl under Airflow 3.1 or newer: copy into the DAGs folder; docs/airflow.md says how.

`carbon_etl` each hour: what is due of each cluster, a mapped task for each of its days, then prices and publishing.
`carbon_etl_close` each month: waits until the month before has settled, then closes it.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from pipeline import tasks
from pipeline.airflow.endings import ended_well, tried_again_if_it_helps
from pipeline.airflow.ranges import hour_before, month_before
from pipeline.airflow.settled import IntensitySettledSensor

CONFIG = os.environ.get("CARBON_ETL_CONFIG", "/etc/carbon-etl/carbon-etl.toml")
POOL = "carbon_etl_prometheus"  # its slots bound how many days ask Prometheus at once
RETRIES = {
    "retries": 3,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
}
COMMON = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "tags": ["carbon-etl"],
}


@dag(
    dag_id="carbon_etl",
    schedule="10 * * * *",
    default_args=RETRIES,
    doc_md=__doc__,
    params={
        "start": Param(None, type=["null", "string"], description="Of a range by hand: first hour, 2026-11-01T00:00Z"),
        "end": Param(None, type=["null", "string"], description="Its end, itself outside"),
    },
    **COMMON,
)
def carbon_etl() -> None:
    """Grams of each closed hour. Tasks may run twice, at once and in any order: figures come out the same."""

    @task
    def names() -> list[str]:
        with tried_again_if_it_helps():
            return tasks.clusters(CONFIG)

    @task(pool=POOL, max_active_tis_per_dag=1)
    def due(cluster: str) -> list[tasks.Task]:
        """Days with hours that are not done; of an `airflow backfill` or a range by hand, the days of those hours."""
        context = get_current_context()
        start, end = context["params"]["start"], context["params"]["end"]
        if start is None and end is None and context["dag_run"].run_type == "backfill":
            start, end = hour_before(context["logical_date"])
        with tried_again_if_it_helps():
            return tasks.days(CONFIG, cluster, start, end)

    @task
    def together(found: list[list[tasks.Task]]) -> list[tasks.Task]:
        return [day for days in found for day in days]

    @task(
        pool=POOL, map_index_template="{{ task.op_kwargs['day']['cluster'] }} {{ task.op_kwargs['day']['hours'][0] }}"
    )
    def fold(day: tasks.Task) -> tasks.Task:
        with tried_again_if_it_helps():
            return ended_well(tasks.do_day(CONFIG, day))

    @task(trigger_rule="all_done", max_active_tis_per_dag=1)
    def finish() -> tasks.Task:
        """Prices that settled and series, whatever became of single days."""
        with tried_again_if_it_helps():
            return ended_well(tasks.finish(CONFIG))

    fold.expand(day=together(due.expand(cluster=names()))) >> finish()


@dag(
    dag_id="carbon_etl_close",
    schedule="0 6 3 * *",
    default_args=RETRIES,
    doc_md=__doc__,
    params={
        "ages": Param(1, type="integer", minimum=1, maximum=4, description="Of 48 h, 7, 30, 90 days: to await"),
        "as_is": Param(default=False, type="boolean", description="Close although hours lack: a cluster's first month"),
        "every_seconds": Param(3600, type="number", exclusiveMinimum=0, description="Between two looks"),
    },
    **COMMON,
)
def carbon_etl_close() -> None:
    """The month before, kept as it is reported, once its figures have settled."""

    @task
    def ranges() -> list[dict[str, Any]]:
        """The sensor's arguments, cluster by cluster."""
        context = get_current_context()
        _, start, end = month_before(context["logical_date"])
        how = {name: context["params"][name] for name in ("ages", "every_seconds")}
        with tried_again_if_it_helps():
            names = tasks.clusters(CONFIG)
        return [{"config": CONFIG, "cluster": name, "start": start, "end": end, **how} for name in names]

    @task
    def close() -> tasks.Task:
        context = get_current_context()
        period, _, _ = month_before(context["logical_date"])
        with tried_again_if_it_helps():
            return ended_well(tasks.close(CONFIG, period, as_is=context["params"]["as_is"]))

    settled = IntensitySettledSensor.partial(task_id="settled", execution_timeout=timedelta(days=100))
    settled.expand_kwargs(ranges()) >> close()


carbon_etl()
carbon_etl_close()
