"""Finds Prometheus, or fetches it into a cache folder without installing anything: no root, no service, no daemon."""

import hashlib
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from pipeline.errors import ConfigError

VERSION = "2.53.4"
RELEASES_URL = "https://github.com/prometheus/prometheus/releases/download"
SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
PROGRAMS = ("prometheus", "promtool")
COMMAND_SECONDS = 300


class Unavailable(Exception):  # not an error yet: the next way is tried
    """One way to get Prometheus did not work."""


@dataclass(frozen=True, slots=True)
class PrometheusBinary:
    """Paths of the two programs."""

    prometheus: Path
    promtool: Path


def find_prometheus(cache_dir: Path, env_path: str, releases_url: str = RELEASES_URL) -> PrometheusBinary:
    """Prometheus and promtool: from `env_path`, the cache folder, the distribution's package or the release archive.

    Args:
        cache_dir: where downloads are kept; made when needed.
        env_path: the PATH to search.
        releases_url: where release archives lie; another address for a mirror.

    Raises:
        ConfigError: none of these ways worked; the message says why each did not.
    """
    for found in (_on_path(env_path), _in_cache(cache_dir)):
        if found is not None:
            return found
    reasons = []
    ways: tuple[Callable[[Path], None], ...] = (
        lambda folder: unpack_package(folder, env_path),
        lambda folder: unpack_archive(folder, releases_url),
    )
    for unpack in ways:
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache_dir, prefix="partial-") as folder:
                unpack(Path(folder))
                return _kept(Path(folder), cache_dir)
        except Unavailable as reason:
            reasons.append(str(reason))
        except OSError as error:
            raise ConfigError(f"cannot keep Prometheus in {cache_dir}: {error}") from error
    raise ConfigError(f"no Prometheus: not on PATH; {'; '.join(reasons)}: install prometheus and promtool yourself")


def unpack_package(folder: Path, env_path: str, package: str = "prometheus") -> None:
    """Unpack a package of the distribution under `folder`, as any user; apt checks its signature chain.

    Where the system's package lists are missing or stale (a fresh container), lists of our own are fetched beside it.

    Raises:
        Unavailable: not Debian or Ubuntu, or its archive does not hold the package.
    """
    tools = [shutil.which(name, path=env_path) for name in ("apt-get", "dpkg")]
    if None in tools:
        raise Unavailable("no apt-get and dpkg here")
    apt_get, dpkg = (str(tool) for tool in tools)
    try:
        _command([apt_get, "download", package], folder)
    except Unavailable:
        lists, archives = folder / "lists", folder / "archives"
        (lists / "partial").mkdir(parents=True)
        (archives / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={archives}"]
        _command([apt_get, *own, "update"], folder)
        _command([apt_get, *own, "download", package], folder)
        shutil.rmtree(lists)
        shutil.rmtree(archives)
    file = next(folder.glob(f"{package}_*.deb"), None)
    if file is None:
        raise Unavailable("apt-get download left no package")
    _command([dpkg, "--extract", str(file), str(folder)], folder)
    file.unlink()


def unpack_archive(folder: Path, releases_url: str = RELEASES_URL) -> None:
    """Unpack the official release archive of this platform under `folder`, checked against the release's own sums.

    The sums come over HTTPS from the same place as the archive: this proves that the download is whole and what that
    release publishes, not that the release itself was not replaced.

    Raises:
        Unavailable: no archive for this platform, unreachable, or the checksum differs.
    """
    system, machine = SYSTEMS.get(platform.system()), MACHINES.get(platform.machine().lower())
    if system is None or machine is None:
        raise Unavailable(f"no release archive for {platform.system()} on {platform.machine()}")
    name = f"prometheus-{VERSION}.{system}-{machine}.tar.gz"
    release = f"{releases_url}/v{VERSION}"
    archive = folder / name
    try:
        with httpx.Client(follow_redirects=True, timeout=60) as client:
            client.event_hooks = {"request": [partial(_refuse_downgrade, urlsplit(releases_url).scheme)]}
            sums = client.get(f"{release}/sha256sums.txt").raise_for_status().text
            _stream(client, f"{release}/{name}", archive)
    except httpx.HTTPError as error:
        raise Unavailable(f"{release} gave no archive ({str(error).splitlines()[0]})") from error
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if f"{digest}  {name}" not in sums.splitlines():
        raise Unavailable(f"{name} does not have the SHA-256 that its release lists")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()


def _refuse_downgrade(scheme: str, request: httpx.Request) -> None:
    """Wherever a redirect leads: the sums are worth no more than the way by which they come."""
    if scheme == "https" and request.url.scheme != scheme:
        raise httpx.UnsupportedProtocol(f"redirected to {request.url.scheme}")


def _stream(client: httpx.Client, url: str, target: Path) -> None:
    with client.stream("GET", url) as answer, target.open("wb") as file:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            file.write(chunk)


def _command(command: list[str], folder: Path) -> None:
    what = f"{Path(command[0]).name} {next(word for word in command[1:] if '=' not in word and len(word) > 2)}"
    try:
        subprocess.run(  # noqa: S603 # fixed programs, no shell
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=COMMAND_SECONDS
        )
    except subprocess.CalledProcessError as error:
        said = str(error.stderr or error.stdout).strip().splitlines() or ["no output"]
        raise Unavailable(f"{what}: {said[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{what} took over {COMMAND_SECONDS} s") from error


def _on_path(env_path: str) -> PrometheusBinary | None:
    server, tool = (shutil.which(name, path=env_path) for name in PROGRAMS)
    return PrometheusBinary(Path(server), Path(tool)) if server and tool else None


def _in_cache(cache_dir: Path) -> PrometheusBinary | None:
    found = (_programs_in(folder) for folder in sorted(cache_dir.glob("kept-*")))
    return next((programs for programs in found if programs is not None), None)


def _programs_in(folder: Path) -> PrometheusBinary | None:
    """The programs, side by side at any depth."""
    for server in sorted(folder.rglob("prometheus")):
        if server.is_file() and server.with_name("promtool").is_file():
            return PrometheusBinary(server, server.with_name("promtool"))
    return None


def _kept(folder: Path, cache_dir: Path) -> PrometheusBinary:
    """Give a finished download its lasting name, so that a killed one is never taken for it."""
    unpacked = _programs_in(folder)
    if unpacked is None:
        raise Unavailable(f"the download holds no {' and '.join(PROGRAMS)}")
    target = cache_dir / folder.name.replace("partial-", "kept-", 1)
    folder.rename(target)
    folder.mkdir()  # for the temporary directory to remove
    return PrometheusBinary(*(target / path.relative_to(folder) for path in (unpacked.prometheus, unpacked.promtool)))
