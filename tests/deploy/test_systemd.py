"""The units: accepted by systemd, hardened, and fed with secrets as credentials."""

import re
import shutil
import subprocess
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.deployment.systemd import CONFIG, SERVICE, TIMER, listing, units
from tests.deploy.deployed import LARGE, SMALL, settings

PROGRAM = Path("/usr/bin/true")
MOST_EXPOSED = 2.0  # of 10, by systemd's own measure


def systemd_analyze(*arguments: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("THE UNITS WERE NOT VERIFIED: no systemd-analyze here (apt-get install systemd)")
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(folder: Path, text: str) -> dict[str, str]:
    files = units(settings(folder, text), PROGRAM)
    for name, unit in files.items():
        (folder / name).write_text(unit, encoding="utf-8")
    return files


@pytest.mark.parametrize("text", [SMALL, LARGE], ids=["small", "large"])
def test_systemd_accepts_the_units_without_a_word(text: str, tmp_path: Path) -> None:
    written(tmp_path, text)
    assert systemd_analyze("verify", "--man=no", str(tmp_path / SERVICE), str(tmp_path / TIMER)) == ""


def test_systemd_would_complain_of_a_misspelt_key(tmp_path: Path) -> None:
    service = written(tmp_path, SMALL)[SERVICE].replace("ProtectSystem=", "ProtectSytem=")
    (tmp_path / SERVICE).write_text(service, encoding="utf-8")
    assert "ProtectSytem" in systemd_analyze("verify", "--man=no", str(tmp_path / SERVICE))


def test_the_service_is_exposed_little(tmp_path: Path) -> None:
    written(tmp_path, LARGE)
    said = systemd_analyze("security", "--offline=true", "--no-pager", str(tmp_path / SERVICE))
    measured = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert measured is not None
    assert float(measured[1]) < MOST_EXPOSED


def test_each_secret_is_a_credential_and_the_configuration_reads_it_there(tmp_path: Path) -> None:
    files = written(tmp_path, LARGE)
    loaded = dict(re.findall(r"^LoadCredential=([^:]+):(.+)$", files[SERVICE], re.MULTILINE))
    kept = {"grid-token": "/run/grid/token", "STORE_TOKEN": "/etc/carbon-etl/secrets/STORE_TOKEN"}
    assert loaded.items() >= kept.items()
    assert (
        'printf %s "$STORE_TOKEN" | install -D -m 600 /dev/stdin /etc/carbon-etl/secrets/STORE_TOKEN' in files[SERVICE]
    )
    read = set(re.findall(r'_file = "([^"]+)"|= "(/run/credentials[^"]+)"', files[CONFIG]))
    assert {"".join(pair) for pair in read} == {f"/run/credentials/{SERVICE}/{name}" for name in loaded}


def test_a_path_may_hold_what_systemd_would_read_otherwise(tmp_path: Path) -> None:
    text = LARGE.replace("/run/grid/token", "/run/100% grid/token")
    assert 'LoadCredential="100-grid-token:/run/100%% grid/token"' in written(tmp_path, text)[SERVICE]
    assert systemd_analyze("verify", "--man=no", str(tmp_path / SERVICE)) == ""


def test_what_it_may_write_is_its_warehouse(tmp_path: Path) -> None:
    files = written(tmp_path, LARGE)
    assert "ProtectSystem=strict" in files[SERVICE]
    (state,) = re.findall(r"^StateDirectory=(.+)$", files[SERVICE], re.MULTILINE)
    assert tomllib.loads(files[CONFIG])["warehouse"]["path"] == f"/var/lib/{state}/warehouse"
    assert not re.search(r"^ReadWritePaths", files[SERVICE], re.MULTILINE)


def test_the_users_own_files_stay_where_they_are(tmp_path: Path) -> None:
    config = tomllib.loads(written(tmp_path, LARGE)[CONFIG])
    assert config["intensity"]["csv"] == {"path": str(tmp_path / "my grid.csv")}


def test_it_is_tried_again_only_where_that_helps(tmp_path: Path) -> None:
    service = written(tmp_path, SMALL)[SERVICE]
    (kept,) = re.findall(r"^RestartPreventExitStatus=(.+)$", service, re.MULTILINE)
    assert set(kept.split()) == {"1", "2", "65", "69"}
    assert "Restart=on-failure" in service


def test_the_timer_runs_it_every_hour_after_the_last_one_is_closed(tmp_path: Path) -> None:
    here = settings(tmp_path)
    (calendar,) = re.findall(r"^OnCalendar=(.+)$", units(here, PROGRAM)[TIMER], re.MULTILINE)
    said = systemd_analyze("calendar", "--iterations=3", "--base-time=2026-11-01 00:00:00 UTC", calendar)
    assert re.findall(r"(2026-\S+ \S+) UTC", said) == [f"2026-11-01 0{hour}:15:00" for hour in range(3)]
    assert here.energy.settle < timedelta(minutes=15)


def test_the_listing_says_where_each_file_belongs(tmp_path: Path) -> None:
    files = written(tmp_path, SMALL)
    text = listing(files)
    places = re.findall(r"^# (/\S+)$", text, re.MULTILINE)
    assert places == [f"/etc/systemd/system/{SERVICE}", f"/etc/systemd/system/{TIMER}", f"/etc/carbon-etl/{CONFIG}"]
    assert all(unit in text for unit in files.values())
