"""Tests mirror `pipeline/`; `e2e` runs the product as a whole."""
