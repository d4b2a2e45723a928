"""Where it stands which team answers for a namespace."""

from pathlib import Path

from pipeline.credentials import Part

NO_TEAM = "(no team)"  # of a namespace that no line is about


class TeamsSettings(Part):
    """Namespaces and their teams: a dated file."""

    csv: Path
