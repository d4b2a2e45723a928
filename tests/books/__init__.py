"""The books: closing, verifying, repairing, exporting, pruning."""
