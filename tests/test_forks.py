"""A command that is forked is the command: it says, leaves and is handed the same as in a process started anew."""

import os
import re
from pathlib import Path

from pipeline.demo.servers import RunningServer
from pipeline.window import HOUR
from tests.conftest import SMALL_FLEET_START
from tests.forks import Asked, forks
from tests.misbehaving import Answer, failure, misbehaving
from tests.misbehaving import Asked as Request
from tests.product import Product

SPAN = ("--start", f"{SMALL_FLEET_START:%FT%H:%MZ}", "--end", f"{SMALL_FLEET_START + 2 * HOUR:%FT%H:%MZ}")
COMMANDS = [
    ("bakfill",),
    ("config", "check"),
    ("--verbose", "backfill", *SPAN, "--json"),
    ("doctor",),
    ("sql", "select * exclude (run_id) from emissions order by all"),
    ("verify",),
]
VARYING = [
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.[\d+:Z]+", "NOW"),
    (r"\d{8}T\d{6}Z?-\w+", "RUN"),
    (r'"seconds": [\d.]+', '"seconds": SOME'),
]


def without_times(text: str, folder: Path) -> str:
    """What does not tell one run from the next."""
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return text.replace(str(folder), "HERE")


def test_a_forked_command_says_and_leaves_what_one_started_anew_does(
    small_fleet_prometheus: RunningServer, tmp_path: Path
) -> None:
    """The two hash strings each in its own way, too: nothing hangs on the order of a set."""
    said, left = [], []
    for way in ("anew", "forked"):
        folder = tmp_path / way
        folder.mkdir()
        product = Product(folder, small_fleet_prometheus.url)
        told = [product.call(*command, anew=way == "anew") for command in COMMANDS]
        said.append([(one.code, without_times(one.out, folder), without_times(one.err, folder)) for one in told])
        left.append({without_times(name, folder) for name in product.files})
    for command, anew, forked in zip(COMMANDS, *said, strict=True):
        assert forked == anew, command
    assert {code for code, _, _ in said[0]} == {0, 2, 65}
    assert left[0] == left[1]


def handed(parent: int) -> dict[str, str]:
    """Files, folder, umask and signals of the child that a process started last, as the kernel has them."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    child = Path("/proc") / children[-1]
    status = (line.split(":\t") for line in (child / "status").read_text(encoding="utf-8").splitlines())
    state = {name: text for name, text in status if name in {"Umask", "SigIgn", "SigCgt"}}
    files = {one.name: re.sub(r"\d+", "N", str(one.readlink())) for one in (child / "fd").iterdir()}
    return state | {"cwd": str((child / "cwd").readlink())} | files | {"1": "", "2": ""}  # a file here, a pipe there


def test_a_forked_command_is_handed_what_one_started_anew_is(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def look(_asked: Request) -> Answer:
        seen.append(handed(parent))
        return failure(403, "look")

    umask = os.umask(0o027)
    try:
        with misbehaving(decide=look) as server:
            product = Product(tmp_path, server.url)
            product.replace(
                "[http]\n", "[http]\nconcurrency = 1\n"
            )  # else it depends on the moment how many sockets there are
            parent = os.getpid()
            product.call("run", anew=True)
            anew = seen.pop()
            product.call("--version")
            parent = forks(*product.bare.items()).process.pid
            product.call("run")
    finally:
        os.umask(umask)
    assert anew["Umask"] == "0027"
    assert seen[-1] == anew


def test_no_variable_of_one_call_is_there_in_the_next(tmp_path: Path) -> None:
    product = Product(tmp_path, "http://127.0.0.1:9")
    for _ in range(2):
        wrong = product.call("config", "check", env={"CARBON_ETL__CLUSTERS__PROD_EU__PUE": "0.5"})
        assert (wrong.code, product.call("config", "check").code) == (2, 0)


def test_of_two_commands_at_once_one_is_started_anew(tmp_path: Path) -> None:
    second: list[str] = []

    def meanwhile(_asked: Request) -> Answer:
        second.append(product.call("--version").out)
        return failure(403, "no")

    with misbehaving(decide=meanwhile) as server:
        product = Product(tmp_path, server.url)
        assert "403" in product.call("run").only_error()
    assert second[0].startswith("carbon-etl ")


def test_a_command_that_takes_too_long_is_killed_and_the_next_one_runs(tmp_path: Path) -> None:
    with misbehaving(Answer(body=b"{" * 1000, drip_seconds=0.1)) as server:
        product = Product(tmp_path, server.url)
        one, env = forks(*product.bare.items()), product.bare | {"CARBON_ETL_CONFIG": str(product.config)}
        late = one.end(Asked(("run",), env, 0o022, seconds=0.5))
        assert late is not None
        assert (late.code, late.out, late.err) == (-9, "", "\nkilled after 0.5 s\n")
    assert product.call("--version").code == 0
