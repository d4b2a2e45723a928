"""What the doctor finds of a cluster: its servers and meters, which of them accounts where, how far two differ."""

from pipeline.discovery.accounts import accounts
from pipeline.discovery.findings import FAIL, NOTE, OK, Finding
from pipeline.discovery.scraped import count, meters
from pipeline.discovery.servers import clocks, servers, spacing

__all__ = ["FAIL", "NOTE", "OK", "Finding", "accounts", "clocks", "count", "meters", "servers", "spacing"]
