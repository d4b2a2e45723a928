"""A warehouse in an object store: the same tables as Delta tables, worked on in a copy of files on this machine."""
