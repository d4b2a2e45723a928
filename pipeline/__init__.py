"""carbon-etl: energy counters in Prometheus become audited grams of CO2e."""

__version__ = "0.1.0"
