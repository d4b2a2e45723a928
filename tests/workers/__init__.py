"""Days done by other processes."""
