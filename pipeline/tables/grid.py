"""What energy is priced with, and when that was asked."""

import pyarrow as pa

from pipeline.tables.columns import COUNT, NUMBER, TEXT, TIMESTAMP, schema_of

INTENSITY = schema_of(
    ("zone", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("carbon_intensity_g_per_kwh", NUMBER),
    ("provider", TEXT),
    ("signal", TEXT),
    ("factor_type", TEXT),
    ("basis", TEXT),
    ("quality", TEXT),
    ("updated_utc", TIMESTAMP),
    ("model", TEXT),
    ("fetched_utc", TIMESTAMP),
    ("payload_id", TEXT),
)

INTENSITY_CHECKS = schema_of(
    ("zone", TEXT),
    ("provider", TEXT),
    ("signal", TEXT),
    ("factor_type", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("asked_utc", TIMESTAMP),
    ("outcome", TEXT),
    ("changed", COUNT),
)

FORECASTS = schema_of(
    ("zone", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("carbon_intensity_g_per_kwh", NUMBER),
    ("provider", TEXT),
    ("signal", TEXT),
    ("factor_type", TEXT),
    ("issued_utc", TIMESTAMP),
    ("fetched_utc", TIMESTAMP),
    ("payload_id", TEXT),
)

PAYLOADS = schema_of(
    ("payload_id", TEXT),  # SHA-256 of the body
    ("provider", TEXT),
    ("url", TEXT),
    ("fetched_utc", TIMESTAMP),
    ("body", pa.binary()),
)

PUE = schema_of(
    ("cluster", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("pue_ratio", NUMBER),
    ("source", TEXT),
    ("updated_utc", TIMESTAMP),
    ("fetched_utc", TIMESTAMP),
)

MARKET_FACTORS = schema_of(
    ("cluster", TEXT),
    ("zone", TEXT),  # of a line that is about all clusters of a zone
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("g_per_kwh", NUMBER),
    ("instrument", TEXT),
    ("share_ratio", NUMBER),  # null: the residual mix, which prices the rest
    ("factor_type", TEXT),
    ("note", TEXT),
    ("fetched_utc", TIMESTAMP),
)

CLUSTER_ZONES = schema_of(
    ("cluster", TEXT),
    ("signal", TEXT),
    ("provider", TEXT),
    ("zone", TEXT),
    ("factor_type", TEXT),
    ("fetched_utc", TIMESTAMP),
)
