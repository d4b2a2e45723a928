"""How tests ask the servers that they start: without a proxy, and without reading 140 authorities for each question."""

import httpx

LOOPBACK = httpx.Client(trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # noqa: S501 # plain HTTP
