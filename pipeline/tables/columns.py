"""What columns are made of."""

import pyarrow as pa

TIMESTAMP: pa.DataType = pa.timestamp("us", tz="UTC")
TEXT: pa.DataType = pa.string()
NUMBER: pa.DataType = pa.float64()
COUNT: pa.DataType = pa.int64()
STEPS: pa.DataType = pa.list_(pa.float64())


def schema_of(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """Columns by name and type, all nullable."""
    return pa.schema([pa.field(name, kind) for name, kind in columns])
