"""Configurations as texts, and how they are read."""

from pathlib import Path

from pipeline.config import load
from pipeline.settings import Settings

FULL = """
[warehouse]
path = "/data/warehouse"

[[clusters]]
name = "prod-eu"
grid_zone = "DE"
pue = 1.2
meters = ["kepler"]
energy_step = "15m"
start = 2026-11-01T02:00:00+02:00

[[clusters.prometheus]]
url = "http://127.0.0.1:9090/prefix/"
selector = '{cluster="prod-eu"}'
replica_of = "a"
username = "reader"
password_env = "PASSWORD"

[clusters.intensity]
providers = ["csv"]

[[clusters]]
name = "prod-us"
prometheus_url = "https://prometheus.example:9090"
cloud = "aws"
region = "us-east-1"
pue = 1.15

[intensity]
providers = ["static"]
factor_type = "lifecycle"
accept = "forecast"
[intensity.csv]
path = "grid.csv"
factor_type = "lifecycle"

[[remote_write]]
name = "dashboards"
url = "http://127.0.0.1:8428/api/v1/write"
query_url = "http://127.0.0.1:8481/select/0"
horizon = "30d"
bearer_token_file = "/run/secrets/token"

[[remote_write]]
url = "http://Store.Example:9090/api/v1/write"

[energy]
max_gap = "5m"
settle = "420s"

[publish]
max_series = 100
horizon = "2h"

[http]
timeout_seconds = 3.5
retry_seconds = 0
max_response_mb = 64
concurrency = 2
"""
SMALL = """
[[clusters]]
name = "prod-eu"
prometheus_url = "http://127.0.0.1:9090"
grid_zone = "DE"
pue = 1.2
"""


def read(tmp_path: Path, text: str, **env: str) -> Settings:
    path = tmp_path / "carbon-etl.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, env)
