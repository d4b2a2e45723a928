"""Puts prometheus, promtool and victoria-metrics into a folder, installing nothing: `python -m tests.programs FOLDER`.

What is on PATH is linked, what is not is unpacked from the distribution's packages (or Prometheus' release archive).
"""

import os
import shutil
import sys
from pathlib import Path

from pipeline.demo.binaries import find_prometheus, unpack_package


def victoria_metrics(cache_dir: Path, env_path: str) -> Path:
    """The VictoriaMetrics program."""
    found = shutil.which("victoria-metrics", path=env_path)
    if found:
        return Path(found)
    folder = cache_dir / "victoria-metrics"
    if not folder.exists():
        partial = cache_dir / "victoria-metrics.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        unpack_package(partial, env_path, "victoria-metrics")
        partial.rename(folder)
    return next(path for path in folder.rglob("victoria-metrics") if path.is_file() and os.access(path, os.X_OK))


def main() -> None:
    target = Path(sys.argv[1]).absolute()
    target.mkdir(parents=True, exist_ok=True)
    env_path = os.environ.get("PATH", "")
    prometheus = find_prometheus(target.parent, env_path)
    programs = {
        "prometheus": prometheus.prometheus,
        "promtool": prometheus.promtool,
        "victoria-metrics": victoria_metrics(target.parent, env_path),
    }
    for name, program in programs.items():
        link = target / name
        if program.absolute() != link:
            link.unlink(missing_ok=True)
            link.symlink_to(program.absolute())


if __name__ == "__main__":
    main()
