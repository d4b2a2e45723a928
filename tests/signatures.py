"""Signature Version 4 as Amazon documents it, worked out again from a request as it arrived."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?(.*)")
UNRESERVED = "-_.~"


def is_signed_by(secret_key: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether `headers` (by small letters) hold the signature of this request under that key.

    `target` is path and query as they stand in the request line.
    """
    match = CREDENTIAL.fullmatch(headers.get("authorization", ""))
    if match is None:
        return False
    _, day, region, service, rest = match.groups()
    fields = dict(field.strip().split("=", 1) for field in rest.split(","))
    names = fields["SignedHeaders"].split(";")
    if names != sorted(names) or "host" not in names or not headers["x-amz-date"].startswith(day):
        return False
    if "x-amz-security-token" in headers and "x-amz-security-token" not in names:
        return False
    path, _, query = target.partition("?")
    split = (pair.partition("=") for pair in query.split("&") if pair)
    pairs = [(_encoded(unquote(name)), _encoded(unquote(value))) for name, _, value in split]
    canonical = "\n".join([
        method,
        quote(path, safe=UNRESERVED + "/"),
        "&".join(f"{name}={value}" for name, value in sorted(pairs)),
        *(f"{name}:{' '.join(headers[name].split())}" for name in names),
        "",
        ";".join(names),
        hashlib.sha256(body).hexdigest(),
    ])  # fmt: skip
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), fields["Signature"])


def scope_of(authorization: str) -> tuple[str, str, str]:
    """Access key, region and service of a signature."""
    match = CREDENTIAL.fullmatch(authorization)
    assert match is not None, authorization
    return match[1], match[3], match[4]


def _encoded(text: str) -> str:
    return quote(text, safe=UNRESERVED)
