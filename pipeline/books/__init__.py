"""Keeping the books: closing and restating periods, verifying and repairing, exporting and pruning what is stored."""
