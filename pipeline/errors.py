"""Every error a user may meet, each with the exit code it ends the command with.

CarbonEtlError                     1   unexpected
|- ConfigError                     2   usage, config, credentials, an address that answers as something else
|- SourceError                     1
|  |- SourceUnavailable           75   time-out, refused connection, 429, 5xx: retried within http.retry_seconds
|  |- SourceRejected               2   4xx: the request or the credentials are wrong
|  `- SourceMalformed              1   an answer that is not what its API documents
|- SchemaError                     1   a table that breaks its own contract
`- SinkError                       1
   |- StoreUnwritable              2   the warehouse folder cannot be written
   |- StoreFull                   75   no space left
   |- StoreBusy                   75   another run holds the lock
   |  `- StoreConflict            75   another machine's run changed the same day of an object store meanwhile
   |- StoreUnreachable            75   the object store does not answer, or not now
   `- RemoteWriteError            75   a store refused or lost a write; `cause` says which

Messages are one line: what, where, what to do next. No secret and no answer body longer than a line goes into one.
They may hold names and words of others, so whoever prints one makes them `visible` first.
"""


def visible(text: str) -> str:
    """The text with all that ends a line, moves a cursor or turns the writing around shown as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class CarbonEtlError(Exception):
    """Base of all errors this program raises on purpose."""

    exit_code = 1


class ConfigError(CarbonEtlError):
    """The command line or the configuration cannot be followed."""

    exit_code = 2


class SourceError(CarbonEtlError):
    """Something outside that we read from did not give what we asked for."""


class SourceUnavailable(SourceError):
    """A source that may answer later; `retry_after_seconds` where it said when."""

    exit_code = 75
    retry_after_seconds: float | None = None


class SourceRejected(SourceError):
    """A source that understood the request and refused it."""

    exit_code = 2


class SourceMalformed(SourceError):
    """An answer that its API's documentation does not allow."""


class SchemaError(CarbonEtlError):
    """A table whose columns, types or keys are not those of its contract."""


class SinkError(CarbonEtlError):
    """Something could not be written."""


class StoreUnwritable(SinkError):
    """The warehouse folder refuses writing."""

    exit_code = 2


class StoreFull(SinkError):
    """The warehouse disk has no space left."""

    exit_code = 75


class StoreBusy(SinkError):
    """Another process holds the lock that this write needs."""

    exit_code = 75


class StoreConflict(StoreBusy):
    """Another machine's run changed the same day meanwhile: what was computed is of rows that are no more."""


class StoreUnreachable(SinkError):
    """The object store does not answer, or not now."""

    exit_code = 75


class RemoteWriteError(SinkError):
    """A time series store refused or lost samples; `cause` is a short word such as `out_of_bounds`."""

    exit_code = 75

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause
