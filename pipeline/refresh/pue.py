"""Asks for a cluster's PUE where it may have changed, and stores what differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SourceError
from pipeline.prices import Prices
from pipeline.refresh import Refreshed
from pipeline.settings.pue import LEAST_PUE, MOST_PUE
from pipeline.sinks.warehouse import Warehouse
from pipeline.sources.pue import PueAnswer, PueFile, PueQuery
from pipeline.tables import PUE
from pipeline.transforms.pue_selection import PueVintages, changed_pues, hours_to_ask
from pipeline.transforms.settling import spans
from pipeline.window import HOUR, Window


@dataclass
class PueRefresh:
    """One cluster's source of PUE, asked on behalf of one run; what is stated needs no asking.

    Args:
        prices: the cluster's.
        warehouse: what is known, and where it is kept.
        run_id: names the files.
        now: when the run asks.
        dry_run: ask, write nothing.
    """

    prices: Prices
    warehouse: Warehouse
    run_id: str
    now: datetime
    dry_run: bool = False

    def file(self) -> pa.Table:
        """What the user's file says newly, schema PUE; nothing else is asked.

        Raises:
            ConfigError: a file that is not what its format says.
            SinkError: the warehouse cannot be written.
        """
        pue = self.prices.pue
        return self._keep(pue.read(self.now)) if isinstance(pue, PueFile) else PUE.empty_table()

    def ask(self, hours: Sequence[datetime], done: Refreshed) -> pa.Table:
        """What is newly known of these hours, schema PUE: of the file, or of the query about young and unknown ones.

        What the cluster's Prometheus refuses becomes a problem of `done`, what it gives that is no PUE a warning.

        Raises:
            ConfigError, SinkError: as `file`.
        """
        pue = self.prices.pue
        if not hours or not isinstance(pue, PueQuery):
            return self.file()
        stored = PueVintages(self.prices.held_pues(self.warehouse, Window(min(hours), max(hours) + HOUR)))
        answers: list[PueAnswer] = []
        try:
            for span in reversed(spans(hours_to_ask(hours, stored, self.now))):  # the newest first: they are due
                answers += pue.fetch(span, self.now)
        except SourceError as error:
            done.problems.append(error)
        refused = {hour: value for answer in answers for hour, value in answer.refused.items()}
        if refused:
            first = min(refused)
            done.warnings.append(
                f"{len(refused):,} hours from {first:%FT%H:%MZ} on have no PUE: its query gives {refused[first]:g} "
                f"there, {LEAST_PUE:g} to {MOST_PUE:g} is taken"
            )
        return self._keep(pa.concat_tables([PUE.empty_table(), *(answer.rows for answer in answers)]))

    def _keep(self, offered: pa.Table) -> pa.Table:
        if not offered.num_rows:
            return offered
        span = Window(pc.min(offered["start_utc"]).as_py(), pc.max(offered["end_utc"]).as_py())
        fresh = changed_pues(offered, self.prices.held_pues(self.warehouse, span))
        if not self.dry_run:
            self.warehouse.append("pue", fresh, self.run_id, self.now.date())
        return fresh
