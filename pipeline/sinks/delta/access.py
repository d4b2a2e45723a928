"""How an object store is reached, and what it says when it refuses, in one line of our own."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from deltalake.exceptions import CommitFailedError, DeltaError

from pipeline.credentials.echoes import without
from pipeline.errors import SchemaError, StoreUnreachable, StoreUnwritable

PATIENCE = {"timeout": "30s", "connect_timeout": "10s", "max_retries": "4", "retry_timeout": "60s"}  # of one request
PREFIX = "AWS_"
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
ORNAMENT = re.compile("\x1b\\[[0-9;]*m|\u21b3")
NO_BUCKET = "NoSuchBucket"
NO_CREDENTIALS = "169.254.169."  # who is asked for some, in a cloud's machine, when there are none
REFUSED = re.compile(r"\b40[13] |AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId|ExpiredToken")
LONGEST = 300  # letters of a store's own words


@dataclass(frozen=True)
class Access:
    """Where a warehouse is and what opens it.

    Attributes:
        url: `s3://bucket/prefix`, without a slash at its end.
        options: endpoint, region and credentials by their usual names, and how long to wait.
    """

    url: str
    options: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, url: str, env: Mapping[str, str]) -> "Access":
        """With what the environment says of AWS."""
        told = {name: env[name] for name in env if name.startswith(PREFIX)}
        return cls(url.rstrip("/"), PATIENCE | told)

    @property
    def secrets(self) -> list[str]:
        """What nobody may read."""
        return [self.options[name] for name in SECRETS if name in self.options]

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn what the store says into what the user can do about it; `what` was done with it.

        Raises:
            StoreUnwritable: no such bucket, no credentials, or refused ones.
            StoreUnreachable: it does not answer, or not now.
            SchemaError: a table that is no Delta table of a known protocol.
        """
        try:
            yield
        except CommitFailedError:
            raise
        except DeltaError as error:
            raise SchemaError(f"{self.url}: {what}: {self._line(error)}") from None
        except OSError as error:
            raise self._of_store(str(error), what) from None

    def _of_store(self, said: str, what: str) -> StoreUnwritable | StoreUnreachable:
        line = f"{self.url}: {what}"
        if NO_BUCKET in said:
            return StoreUnwritable(f"{line}: there is no such bucket: make it, or set warehouse.path")
        if NO_CREDENTIALS in said:
            return StoreUnwritable(f"{line}: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if REFUSED.search(said):
            return StoreUnwritable(f"{line}: the store refuses these credentials ({self._line(said)})")
        return StoreUnreachable(f"{line}: {self._line(said)}; run again later")

    def _line(self, said: object) -> str:
        """A store's words in one line, without ornaments and secrets."""
        scrubbed = without(str(said).encode(), self.secrets).decode(errors="replace")
        words = " ".join(ORNAMENT.sub("", scrubbed).split())
        return words if len(words) <= LONGEST else f"{words[: LONGEST // 2]} ... {words[-LONGEST // 2 :]}"
