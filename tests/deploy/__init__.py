"""Tests of what runs the product elsewhere."""
