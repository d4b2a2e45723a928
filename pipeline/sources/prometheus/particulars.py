"""What products of the same API want to be told besides, so that they answer whole, raw and as Prometheus does."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from pipeline.errors import SourceRejected

# a server passes over what it does not know, as a rule
WHOLE = {
    "max_source_resolution": "0s",  # Thanos: never downsampled, as instant queries are where their default says so
    "partial_response": "false",  # Thanos: an error in place of what is left where a store is away
    "dedup": "true",  # Thanos: replicas as one
    "deny_partial_response": "1",  # VictoriaMetrics' cluster: the same as partial_response
    "nocache": "1",  # VictoriaMetrics: the newest samples, too, and at the very moment asked for
}
# Prometheus' default; VictoriaMetrics else guesses from how samples lie, and fills wider gaps
LOOKING_BACK = {"max_lookback": "5m"}

T = TypeVar("T")


class Particulars:
    """Such parameters for one server: left out once it has refused one of them, by name (Google's service does)."""

    def __init__(self) -> None:
        self._wanted = True

    def told(self, ask: Callable[[Mapping[str, str]], T], *more: Mapping[str, str]) -> T:
        """What `ask` gives when it is handed the parameters.

        Raises:
            SourceError: as `ask`.
        """
        parameters = {name: value for part in (WHOLE, *more) for name, value in part.items()}
        if self._wanted:
            try:
                return ask(parameters)
            except SourceRejected as error:
                if not any(name in str(error) for name in parameters):
                    raise
                self._wanted = False
        return ask({})
