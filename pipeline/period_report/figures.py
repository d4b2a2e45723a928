"""The figures of a period: what every format of the report shows, and nothing that any of them works out by itself."""

from dataclasses import dataclass
from datetime import date, datetime

from pipeline.period_report.amounts import Amounts, DayLine, Line
from pipeline.period_report.decomposition import Effects
from pipeline.period_report.spans import Spans


@dataclass(frozen=True)
class Part:
    """Everything that is counted by one factor type: grams of two never meet in a total.

    Attributes:
        factor_type: `lifecycle`, `direct`, or null where nothing has grams.
        scope: what its totals are.
        now: of all clusters.
        before: the same in the period before; null where that has nothing by this factor type.
        change_gco2e: grams now less grams before; null where one of them is not known.
        effects: the parts of the change; null where there is none to divide.
        clusters, kinds, namespaces, teams: all of them, most grams first; teams are none without a map.
        largest, movers: workloads with most grams, and with the greatest change.
        days: of the period alone.
    """

    factor_type: str | None
    scope: str
    now: Amounts
    before: Amounts | None
    change_gco2e: float | None
    effects: Effects | None
    clusters: tuple[Line, ...]
    kinds: tuple[Line, ...]
    namespaces: tuple[Line, ...]
    teams: tuple[Line, ...]
    largest: tuple[Line, ...]
    movers: tuple[Line, ...]
    days: tuple[DayLine, ...]

    @property
    def total(self) -> Line:
        """The sum of its lines."""
        return Line(self.now, self.before, self.change_gco2e)


@dataclass(frozen=True)
class Price:
    """Energy that was priced alike."""

    factor_type: str | None
    cluster: str
    intensity_zone: str | None
    intensity_provider: str | None
    intensity_basis: str | None
    intensity_quality: str
    energy_kwh: float
    emissions_gco2e: float | None


@dataclass(frozen=True)
class Pue:
    """Where the PUE of a cluster's energy comes from, and between what it lies."""

    cluster: str
    pue_source: str | None
    least_pue_ratio: float | None
    most_pue_ratio: float | None
    energy_kwh: float


@dataclass(frozen=True)
class Coverage:
    """How much of a cluster's time is in the figures.

    Attributes:
        first_utc: the first hour that was ever stored; expected are the hours from there on.
        expected_hours, complete_hours, partial_hours, empty_hours, failed_hours, missing_hours: of the period.
        restated_hours: of those stored, priced or folded again since the first time.
        node_hours: seen; hole_node_hours of them were metered for less than they existed.
        silent_node_hours: not seen at all, of nodes seen in the day before.
        withheld_node_hours: whose workloads are booked as system; implausible_node_hours: with energy left out.
        scaled_node_hours: scaled to a meter of the whole machine.
        covered_ratio: metered time over the time in which nodes are known to have existed.
    """

    cluster: str
    first_utc: datetime
    expected_hours: int
    complete_hours: int
    partial_hours: int
    empty_hours: int
    failed_hours: int
    missing_hours: int
    restated_hours: int
    node_hours: int
    hole_node_hours: int
    silent_node_hours: int
    withheld_node_hours: int
    implausible_node_hours: int
    scaled_node_hours: int
    covered_ratio: float | None


@dataclass(frozen=True)
class Quarantined:
    """What was withheld or left out, by the check that it failed."""

    cluster: str
    check: str
    rows: int
    energy_kwh: float


@dataclass(frozen=True)
class Meter:
    """Whose readings the energy is."""

    meter: str
    components: tuple[str, ...]
    energy_kwh: float


@dataclass(frozen=True)
class Closed:
    """What was closed of the period, and what it comes to now."""

    cluster: str
    closed_utc: datetime
    factor_type: str | None
    closed_emissions_gco2e: float | None
    emissions_gco2e: float | None
    changed_namespaces: int
    is_material: bool
    causes: str | None


@dataclass(frozen=True)
class Provenance:
    """By what the figures were made: enough to make them again."""

    method_versions: tuple[str, ...]
    before_method_versions: tuple[str, ...]
    before_providers: tuple[str, ...]
    carbon_etl_versions: tuple[str, ...]
    config_digests: tuple[str, ...]
    run_ids: tuple[str, ...]
    first_priced_utc: datetime | None
    last_priced_utc: datetime | None


@dataclass(frozen=True)
class Figures:
    """A whole report.

    Attributes:
        carbon_etl_version: the program that made it.
        made_utc: when.
        spans: what it is about.
        clusters: those with energy in the period; absent_clusters: configured or asked for, and without.
        is_before_known: whether anything is stored of the period before.
        lacking_days: UTC days of which an hour of some cluster is missing or not whole.
        before_hours: cluster-hours that are stored of the period before.
    """

    carbon_etl_version: str
    made_utc: datetime
    spans: Spans
    clusters: tuple[str, ...]
    absent_clusters: tuple[str, ...]
    is_before_known: bool
    parts: tuple[Part, ...]
    prices: tuple[Price, ...]
    pues: tuple[Pue, ...]
    coverage: tuple[Coverage, ...]
    lacking_days: tuple[date, ...]
    before_hours: int
    quarantined: tuple[Quarantined, ...]
    meters: tuple[Meter, ...]
    closed: tuple[Closed, ...]
    provenance: Provenance
