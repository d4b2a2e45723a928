"""Somebody else's words in ours: one line of a text, JSON as text, and why a server could not be reached."""

from typing import Any

from pipeline.errors import SourceError, SourceRejected, SourceUnavailable, visible

LINE_CHARACTERS = 200
REASONS = {  # what the depths of a socket say, and what a person reads
    "Connection refused": "connection refused",
    "Temporary failure in name resolution": "its name cannot be resolved now",
    "Failed to resolve": "its name cannot be resolved",
    "Name or service not known": "its name cannot be resolved",
    "No address associated with hostname": "its name cannot be resolved",
    "Network is unreachable": "network is unreachable",
    "No route to host": "no route to host",
    "Connection reset": "connection reset",
    "closed connection without response": "it closed the connection without an answer",
    "Server disconnected without sending a response": "it closed the connection without an answer",
    "IncompleteRead": "its answer broke off",
    "peer closed connection": "its answer broke off",
}


def line(text: str) -> str:
    """At most one line of somebody else's text."""
    return visible(" ".join(text.split())[:LINE_CHARACTERS])


def writable(part: Any) -> Any:  # noqa: ANN401 # any part of a JSON document
    """The same with each half of a surrogate pair as its escape: JSON lets it stand alone, no column or file does."""
    if isinstance(part, str):
        return part if part.isascii() else part.encode(errors="backslashreplace").decode()
    if isinstance(part, list):
        return [writable(item) for item in part]
    if isinstance(part, dict):
        return {writable(key): writable(value) for key, value in part.items()}
    return part


def failure(error: Exception, where: str) -> SourceError:
    """The error of a request that got no whole answer."""
    text = str(error)
    if "certificate verify failed" in text:
        return SourceRejected(f"{where} shows a certificate that this machine does not trust")
    reason = next((reason for sign, reason in REASONS.items() if sign in text), line(text) or type(error).__name__)
    return SourceUnavailable(f"cannot reach {where}: {reason}")
