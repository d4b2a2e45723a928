"""Fleets with known joules: what `carbon-etl demo` shows and what the tests measure against."""
