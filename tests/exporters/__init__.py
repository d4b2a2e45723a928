"""The real exporters, driven with known joules: run with `make test-exporters`, not with the ordinary tests."""
