"""What was done, changed and reported, and who answers for it."""

from pipeline.tables.columns import COUNT, NUMBER, TEXT, TIMESTAMP, schema_of

REVISIONS = schema_of(
    ("hour_utc", TIMESTAMP),
    ("cluster", TEXT),
    ("namespace", TEXT),
    ("component", TEXT),
    ("kind", TEXT),
    ("revision", COUNT),
    ("cause", TEXT),
    ("old_energy_joules", NUMBER),
    ("new_energy_joules", NUMBER),
    ("old_pue_ratio", NUMBER),
    ("new_pue_ratio", NUMBER),
    ("old_carbon_intensity_g_per_kwh", NUMBER),
    ("new_carbon_intensity_g_per_kwh", NUMBER),
    ("old_emissions_gco2e", NUMBER),
    ("new_emissions_gco2e", NUMBER),
    ("rows_changed", COUNT),
    ("run_id", TEXT),
    ("written_utc", TIMESTAMP),
)

HOURS = schema_of(
    ("cluster", TEXT),
    ("hour_utc", TIMESTAMP),
    ("store", TEXT),  # null: the fold-and-price row of a commit; else the store this row is about
    ("state", TEXT),  # complete, partial, empty, failed; of a store: yes, no, beyond_horizon
    ("run_id", TEXT),
    ("revision", COUNT),
    ("priced_utc", TIMESTAMP),
    ("config_digest", TEXT),
    ("samples", COUNT),
    ("reason", TEXT),
    ("written_utc", TIMESTAMP),
)

RUNS = schema_of(
    ("run_id", TEXT),
    ("command", TEXT),
    ("version", TEXT),
    ("started_utc", TIMESTAMP),
    ("finished_utc", TIMESTAMP),
    ("exit_code", COUNT),
    ("report", TEXT),
)

CLOSINGS = schema_of(
    ("period", TEXT),
    ("cluster", TEXT),
    ("namespace", TEXT),
    ("energy_joules", NUMBER),
    ("emissions_gco2e", NUMBER),
    ("method_version", TEXT),
    ("config_digest", TEXT),
    ("closed_utc", TIMESTAMP),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("facility_energy_kwh", NUMBER),
    ("unpriced_energy_joules", NUMBER),
    ("intensity_factor_type", TEXT),
    ("lacking_hours", COUNT),
    ("materiality_ratio", NUMBER),
    ("run_id", TEXT),
)

TEAMS = schema_of(
    ("cluster", TEXT),
    ("namespace", TEXT),
    ("team", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("fetched_utc", TIMESTAMP),
)
