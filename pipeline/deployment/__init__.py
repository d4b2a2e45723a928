"""A configuration made into what runs it somewhere: Kubernetes objects, systemd units. Pure but for files it packs."""
