"""Prometheus is found or fetched, verified, kept; failures are one line."""

import hashlib
import platform
import shutil
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipeline.demo.binaries import MACHINES, SYSTEMS, VERSION, find_prometheus
from pipeline.errors import ConfigError

PROGRAM = "#!/bin/sh\necho a stand-in\n"


def programs(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("prometheus", "promtool"):
        (folder / name).write_text(PROGRAM)
        (folder / name).chmod(0o755)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A local release server: its address, and the folder of the pinned release with a valid archive and sums."""
    release = tmp_path / "releases" / f"v{VERSION}"
    release.mkdir(parents=True)
    stem = f"prometheus-{VERSION}.{SYSTEMS[platform.system()]}-{MACHINES[platform.machine().lower()]}"
    archive = release / f"{stem}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(programs(tmp_path / "packed"), arcname=stem)
    (release / "sha256sums.txt").write_text(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(release.parent)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", release
    server.shutdown()
    thread.join()
    server.server_close()


def test_programs_on_the_path_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = programs(tmp_path / "bin")
    found = find_prometheus(tmp_path / "cache", str(folder))
    assert (found.prometheus, found.promtool) == (folder / "prometheus", folder / "promtool")
    assert not (tmp_path / "cache").exists()


def test_the_release_archive_is_verified_unpacked_and_then_kept(tmp_path: Path, releases: tuple[str, Path]) -> None:
    url, release = releases
    found = find_prometheus(tmp_path / "cache", "", url)
    assert found.prometheus.read_text() == PROGRAM
    assert found.prometheus.stat().st_mode & 0o100
    shutil.rmtree(release)
    assert find_prometheus(tmp_path / "cache", "", url) == found
    assert [entry.name.split("-")[0] for entry in (tmp_path / "cache").iterdir()] == ["kept"]


def test_an_archive_with_another_checksum_is_refused_and_leaves_nothing(
    tmp_path: Path, releases: tuple[str, Path]
) -> None:
    url, release = releases
    archive = next(release.glob("*.tar.gz"))
    archive.write_bytes(archive.read_bytes() + b"!")
    with pytest.raises(ConfigError, match="does not have the SHA-256"):
        find_prometheus(tmp_path / "cache", "", url)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_release_that_is_not_there_is_one_clear_line(tmp_path: Path, releases: tuple[str, Path]) -> None:
    url, release = releases
    shutil.rmtree(release)
    with pytest.raises(ConfigError) as caught:
        find_prometheus(tmp_path / "cache", "", url)
    assert "no apt-get and dpkg here" in str(caught.value)
    assert "404" in str(caught.value)
    assert "\n" not in str(caught.value)


def package_and_tools(folder: Path) -> tuple[Path, Path]:
    """What `dpkg-deb -b` builds a package from, and a PATH folder with the real dpkg."""
    package, tools = folder / "package", folder / "bin"
    programs(package / "usr" / "bin")
    (package / "DEBIAN").mkdir()
    (package / "DEBIAN" / "control").write_text(
        "Package: prometheus\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: test\n"
    )
    tools.mkdir()
    (tools / "dpkg").symlink_to(str(shutil.which("dpkg")))
    return package, tools


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds a Debian package")
def test_the_distributions_package_is_unpacked_without_installing(tmp_path: Path) -> None:
    package, tools = package_and_tools(tmp_path)
    build = f'test "$*" = "download prometheus" && dpkg-deb -b {package} prometheus_1_all.deb'
    (tools / "apt-get").write_text(f"#!/bin/sh\n{build}\n")
    (tools / "apt-get").chmod(0o755)
    found = find_prometheus(tmp_path / "cache", str(tools))
    assert found.prometheus.is_relative_to(tmp_path / "cache")
    assert found.promtool.read_text() == PROGRAM


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds a Debian package")
def test_missing_package_lists_are_fetched_into_the_cache_and_not_the_system(tmp_path: Path) -> None:
    package, tools = package_and_tools(tmp_path)
    (tools / "apt-get").write_text(f"""#!/bin/sh
case "$*" in
  "download prometheus") echo "E: Unable to locate package prometheus" >&2; exit 100 ;;
  *Dir::State::Lists=*update) touch {tmp_path}/updated ;;
  *Dir::State::Lists=*"download prometheus") test -e {tmp_path}/updated && dpkg-deb -b {package} prometheus_1_all.deb ;;
  *) exit 1 ;;
esac
""")
    (tools / "apt-get").chmod(0o755)
    found = find_prometheus(tmp_path / "cache", str(tools))
    assert found.promtool.read_text() == PROGRAM
    assert not list((tmp_path / "cache").rglob("lists"))


def test_a_failing_package_manager_is_quoted_and_the_archive_is_tried(
    tmp_path: Path, releases: tuple[str, Path]
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("apt-get", "dpkg"):
        (tools / name).write_text("#!/bin/sh\necho E: Unable to locate package prometheus >&2\nexit 100\n")
        (tools / name).chmod(0o755)
    url, release = releases
    assert find_prometheus(tmp_path / "cache", str(tools), url).promtool.is_file()
    shutil.rmtree(tmp_path / "cache")
    shutil.rmtree(release)
    with pytest.raises(ConfigError, match="apt-get update: E: Unable to locate package prometheus"):
        find_prometheus(tmp_path / "cache", str(tools), url)


def test_a_cache_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot keep Prometheus in"):
        find_prometheus(tmp_path / "file" / "cache", "")


def test_a_package_without_the_programs_is_not_kept(tmp_path: Path, releases: tuple[str, Path]) -> None:
    url, release = releases
    archive = next(release.glob("*.tar.gz"))
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(__file__, arcname="prometheus/readme")
    (release / "sha256sums.txt").write_text(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n")
    with pytest.raises(ConfigError, match="holds no prometheus and promtool"):
        find_prometheus(tmp_path / "cache", "", url)
    assert list((tmp_path / "cache").iterdir()) == []
