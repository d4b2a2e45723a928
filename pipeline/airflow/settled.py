"""A deferrable sensor: waits, at no worker's cost, until the figures of a range have settled."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.triggers.base import BaseTrigger, TriggerEvent

from pipeline.airflow.endings import tried_again_if_it_helps
from pipeline.errors import CarbonEtlError
from pipeline.tasks import is_settled


class IntensitySettledSensor(BaseOperator):
    """Succeeds once every UTC day of a range has figures that passed the ages given; asks nobody, writes nothing.

    Args:
        config: path of the configuration file, on workers and on the triggerer.
        cluster: whose figures.
        start, end: the range, half-open, ISO 8601 with a zone.
        ages: how many of 48 h, 7, 30 and 90 days after which providers are asked once more must have been; 4 is final.
        every_seconds: how long to wait between two looks at the warehouse.
        **rest: as of any operator.
    """

    def __init__(
        self,
        *,
        config: str,
        cluster: str,
        start: str,
        end: str,
        ages: int = 1,
        every_seconds: float = 3600,
        **rest: Any,  # noqa: ANN401 # Airflow's own
    ) -> None:
        super().__init__(**rest)
        self.config, self.cluster, self.start, self.end = config, cluster, start, end
        self.ages, self.every_seconds = ages, every_seconds

    def execute(self, context: Context) -> None:  # noqa: ARG002 # Airflow passes it
        """Look once; wait in the triggerer where it is too early."""
        asked = (self.config, self.cluster, self.start, self.end, self.ages)
        with tried_again_if_it_helps():
            if is_settled(*asked):
                return
        trigger = IntensitySettledTrigger(*asked, self.every_seconds)
        self.defer(trigger=trigger, method_name="resume", timeout=self.execution_timeout)

    def resume(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002 # Airflow passes it
        """Settled, or an error that waiting does not cure.

        Raises:
            AirflowFailException: the trigger could not look.
        """
        with tried_again_if_it_helps():
            if event["error"] is not None:
                raise CarbonEtlError(event["error"])


class IntensitySettledTrigger(BaseTrigger):
    """Looks into the warehouse every so many seconds, in a thread of the triggerer, until the range has settled."""

    def __init__(self, config: str, cluster: str, start: str, end: str, ages: int, every_seconds: float) -> None:
        super().__init__()
        self.asked = (config, cluster, start, end, ages)
        self.every_seconds = every_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what it is to be made of, in the triggerer."""
        named = dict(zip(("config", "cluster", "start", "end", "ages"), self.asked, strict=True))
        return f"{type(self).__module__}.{type(self).__qualname__}", {**named, "every_seconds": self.every_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: when it was seen settled, or why nobody can tell."""
        error = None
        try:
            while not await asyncio.to_thread(is_settled, *self.asked):
                await asyncio.sleep(self.every_seconds)
        except CarbonEtlError as told:
            error = str(told)
        yield TriggerEvent({"error": error})
