"""How a task of carbon-etl ends in Airflow: tried again where that may help, else failed at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from pipeline.errors import CarbonEtlError, StoreBusy
from pipeline.tasks import Task

TRY_LATER = StoreBusy.exit_code
DONE = 0


@contextmanager
def tried_again_if_it_helps() -> Iterator[None]:
    """Errors of carbon-etl as Airflow takes them.

    Raises:
        CarbonEtlError: trying again later may help: `retries` of the task apply.
        AirflowFailException: it would not.
    """
    try:
        yield
    except CarbonEtlError as error:
        if error.exit_code == TRY_LATER:
            raise
        raise AirflowFailException(str(error)) from error


def ended_well(report: Task) -> Task:
    """The report of a run or of a day, where it ended with 0.

    Raises:
        CarbonEtlError: part of it is to be tried again later.
        AirflowFailException: a check failed, or part of it did; what is right is committed and stays.
    """
    code, errors = report["exit_code"], "; ".join(report["errors"]) or "a check failed: see the report"
    if code == TRY_LATER:
        raise StoreBusy(errors)
    if code != DONE:
        raise AirflowFailException(f"exit code {code}: {errors}")
    return report
