"""Exact constants and nothing else: conversions happen once, at a source's edge."""

JOULES_PER_KWH = 3_600_000
MS_PER_SECOND = 1_000
MS_PER_HOUR = 3_600_000
MS_PER_MINUTE = 60_000
G_PER_KWH_OF_LB_PER_MWH = 0.45359237  # a pound is 453.59237 g by definition, a MWh is 1,000 kWh
