"""The totals of a period by namespace, from the rows that it is summed from."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.tables import CLOSINGS, values

SUMS = ("energy_joules", "facility_energy_kwh", "emissions_gco2e", "unpriced_energy_joules")
WHOLE = {"energy_joules", "unpriced_energy_joules"}  # these have no nulls: without a row they are 0


def closing_rows(rows: pa.Table, about: Mapping[str, Any]) -> pa.Table:
    """CLOSINGS rows in order of namespace: each sum exactly rounded, so that no order of rows changes it.

    Args:
        rows: namespace, the columns of `SUMS`, intensity_factor_type and method_version; nulls add nothing.
        about: the columns that all rows share.

    Raises:
        ConfigError: grams of two factor types, which make no total.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, namespace in enumerate(values(rows, "namespace")):
        groups[namespace].append(index)
    columns = {name: values(rows, name) for name in (*SUMS, "intensity_factor_type", "method_version")}
    factor_type = _factor_type(columns)
    methods = ", ".join(sorted(set(columns["method_version"])))
    shared = {"intensity_factor_type": factor_type, "method_version": methods} | dict(about)
    found = [dict(_sums(columns, indices)) | {"namespace": name} | shared for name, indices in sorted(groups.items())]
    return pa.Table.from_pylist(found, CLOSINGS)


def _sums(columns: Mapping[str, list[Any]], indices: list[int]) -> Iterator[tuple[str, float | None]]:
    for name in SUMS:
        known = [columns[name][index] for index in indices if columns[name][index] is not None]
        yield name, math.fsum(known) if known or name in WHOLE else None


def _factor_type(columns: Mapping[str, list[Any]]) -> str | None:
    priced = zip(columns["intensity_factor_type"], columns["emissions_gco2e"], strict=True)
    found = sorted({factor_type for factor_type, grams in priced if grams is not None and factor_type is not None})
    if len(found) > 1:
        raise ConfigError(
            f"the period has grams by {' and by '.join(found)} factors, which make no total: "
            "restate them with `carbon-etl reprice --since`, or close the spans one by one"
        )
    return found[0] if found else None
