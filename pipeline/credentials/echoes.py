"""Secrets that a server repeats, taken out of its words before anybody reads or stores them."""

import html
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

SCRUBBED = b"***"


def without(said: bytes, secrets: Iterable[str]) -> bytes:
    """A server's words without secrets that it was sent, however an address, JSON, HTML or XML writes them."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        said = said.replace(form.encode(), SCRUBBED)
    return said


def _forms(secret: str) -> Iterable[str]:
    text = json.dumps(secret)[1:-1]
    yield from (secret, quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield from (text, text.replace("/", "\\/"), html.escape(secret), html.escape(secret, quote=False))
