"""Exact constants and nothing else: conversions happen once, at a source's edge."""

JOULES_PER_KWH = 3_600_000
MS_PER_SECOND = 1_000
MS_PER_HOUR = 3_600_000
MS_PER_MINUTE = 60_000
