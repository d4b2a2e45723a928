"""A user's own CSV file, line by line: what every such file is refused for, and how a line is named."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.window import EPOCH


def csv_rows(
    path: Path, required: Sequence[str], optional: Sequence[str], what: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each line with its place in the file, as text without spaces around it; a column that is left out is not there.

    Args:
        path: the file, UTF-8.
        required: columns that it must have.
        optional: columns that it may have.
        what: what it holds, for the message of a file that cannot be read.

    Raises:
        ConfigError: names the file, the line and what to write instead.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            wrong = [n for n in required if n not in header]
            wrong += [n for n in header if n not in (*required, *optional) or header.count(n) > 1]
            if wrong:
                raise ConfigError(
                    f"{path}: column {wrong[0]!r} is missing, unknown or there twice; "
                    f"the header is {','.join(required)}"
                )
            for raw in reader:
                if None in raw:  # a decimal comma, most likely
                    raise ConfigError(f"{path} line {reader.line_num}: more values than the header has columns")
                yield (
                    f"{path} line {reader.line_num}",
                    {(name or "").strip(): (text or "").strip() for name, text in raw.items()},
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read the {what} file {path}: {error}") from error


def refuse_overlaps(path: Path, rows: Iterable[dict[str, Any]], of: str) -> None:
    """Two figures for one moment are two answers, unless `updated_utc` tells which is the newer.

    Args:
        path: the file.
        rows: its lines, with `start_utc`, `end_utc` and `updated_utc`.
        of: the column that names what a figure is of.

    Raises:
        ConfigError: there are two.
    """

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row[of], row["updated_utc"] or EPOCH, row["start_utc"]

    for one, following in pairwise(sorted(rows, key=key)):
        if key(one)[:2] == key(following)[:2] and following["start_utc"] < one["end_utc"]:
            raise ConfigError(
                f"{path}: {of} {one[of]} has two figures at {following['start_utc']:%FT%H:%MZ}: "
                "remove one, or give both an updated_utc"
            )
