"""How many examples a costly property is tried on: a few, and with `CARBON_ETL_EXAMPLES` so many times as many."""

import os

TIMES = int(os.environ.get("CARBON_ETL_EXAMPLES", "1"))


def examples(few: int) -> int:
    """`max_examples` of a property of which a few rich examples fail where many would."""
    return few * TIMES
