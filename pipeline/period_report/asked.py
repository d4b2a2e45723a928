"""Questions to the views of a warehouse, answered as mappings."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import duckdb

Row: TypeAlias = dict[str, Any]


class Asked:
    """The views of a warehouse and the parameters that every question shares."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, parameters: Mapping[str, object]) -> None:
        self._connection = connection
        self.parameters = dict(parameters)

    def rows(self, question: str) -> list[Row]:
        """The answer, a mapping a row."""
        used = {name: value for name, value in self.parameters.items() if f"${name}" in question}
        return self._connection.execute(question, used).to_arrow_table().to_pylist()

    def put_aside(self, name: str, question: str) -> None:
        """Keep an answer as a relation of that name."""
        used = {name: value for name, value in self.parameters.items() if f"${name}" in question}
        self._connection.execute(f"create temp table {name} as {question}", used)
