"""The warehouse in an object store."""
