"""What samples mean: one file a meter."""
