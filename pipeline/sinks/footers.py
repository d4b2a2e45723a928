"""One entry of a parquet footer without the rest: columns and statistics take fifteen times as long to decode."""

import os
from contextlib import suppress

TAIL_BYTES = 8  # the footer's length and "PAR1"
STRING = 0x18  # thrift, compact: the struct's next field is a string; its length follows, seven bits a byte


def entry(path: str, key: str) -> bytes | None:
    """The value of a key among the key-value metadata of a file, whatever the file is; None where none is found.

    Of a file without that key it is text of its statistics that looks like an entry, if any does: callers hold it
    against what they expect.
    """
    footer = _footer(path)
    marker = bytes([STRING, len(key)]) + key.encode() + bytes([STRING])
    found = footer.rfind(marker)  # the last: what stands before these entries is statistics, with text of anybody
    if found < 0:
        return None
    position, shift, length = found + len(marker), 0, 0
    while position < len(footer):
        length |= (footer[position] & 0x7F) << shift
        position, shift, is_last = position + 1, shift + 7, footer[position] < 0x80
        if is_last:
            value = footer[position : position + length]
            return value if len(value) == length else None
    return None


def _footer(path: str) -> bytes:
    with suppress(OSError), open(path, "rb", buffering=0) as file:  # noqa: PTH123 # thousands
        file.seek(-TAIL_BYTES, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-TAIL_BYTES - length, os.SEEK_END)
        return file.read(length)
    return b""
