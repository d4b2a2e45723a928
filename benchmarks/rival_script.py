"""What a user would write instead: prometheus-api-client and pandas, an hour at a time, to parquet.

    python -m benchmarks.rival_script URL CLUSTER START END INTENSITY.csv FOLDER [--extract-only]

Differences of neighbouring samples, negative ones left out (restarts), grams by the hour's intensity and the PUE. A
minute before each hour is read, too, so that no interval between two hours is lost. Not split at the hour, no first
values of new pods, no node's own counters, no owners: it is here for its time.
"""

import argparse
import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
from prometheus_api_client import MetricRangeDataFrame, PrometheusConnect

METRIC = "kepler_pod_cpu_joules_total"
SERIES = ["node_name", "zone", "pod_id"]
IDENTITY = [*SERIES, "pod_namespace", "pod_name"]
HOUR, MARGIN = timedelta(hours=1), timedelta(minutes=1)
PUE_RATIO, JOULES_PER_KWH = 1.25, 3.6e6


def main(arguments: Sequence[str] | None = None) -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("url", "cluster", "start", "end", "intensity", "folder"):
        parser.add_argument(name)
    parser.add_argument("--extract-only", action="store_true", help="read the hours into a data frame, no more")
    given = parser.parse_args(arguments)
    hour, end = datetime.fromisoformat(given.start), datetime.fromisoformat(given.end)
    intensity = pd.read_csv(given.intensity, parse_dates=["start_utc"]).set_index("start_utc")
    client = PrometheusConnect(url=given.url)
    began, samples = time.perf_counter(), 0
    while hour < end:
        margin = timedelta(0) if given.extract_only else MARGIN
        found = client.get_metric_range_data(METRIC, {"cluster": given.cluster}, hour - margin, hour + HOUR)
        frame = MetricRangeDataFrame(found)
        samples += len(frame)
        if not given.extract_only:
            _write(frame, hour, float(intensity.loc[hour, "carbon_intensity_g_per_kwh"]), Path(given.folder))
        hour += HOUR
    print(json.dumps({"seconds": time.perf_counter() - began, "samples": samples}))


def _write(frame: pd.DataFrame, hour: datetime, g_per_kwh: float, folder: Path) -> None:
    joules = frame.groupby(SERIES, sort=False)["value"].diff().clip(lower=0)
    rows = frame[IDENTITY].assign(energy_joules=joules)
    rows = rows[rows.index >= pd.Timestamp(hour).tz_localize(None)]
    rows = rows.groupby(IDENTITY, as_index=False)["energy_joules"].sum()
    rows["hour_utc"], rows["date"] = hour, hour.date().isoformat()
    rows["emissions_gco2e"] = rows["energy_joules"] / JOULES_PER_KWH * PUE_RATIO * g_per_kwh
    rows.to_parquet(folder, partition_cols=["date"], compression="zstd")


if __name__ == "__main__":
    main()
