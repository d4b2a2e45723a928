"""What decoders of other people's bytes must not do, over the corpus, over what is made from it, and over any bytes."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.decoder import READ, Decoder
from tests.faults.decoders import CORPUS, DECODERS, seeds
from tests.faults.fuzz import GUIDED, HEAD, Fuzzing, TooSlowError, mutated, note, timed
from tests.faults.reached import LONGEST, arcs, picked

SECONDS = 0.5  # of CPU time for each decoder here: `python -m tests.faults.fuzz` goes on for as long as one likes
QUIET = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@pytest.mark.parametrize("name", DECODERS)
def test_every_input_of_the_corpus_is_read_or_refused_as_documented(name: str) -> None:
    came = {file: timed(DECODERS[name], content) for file, content in seeds(name).items()}
    assert READ in came.values(), "the corpus has an answer in which nothing is wrong"


@pytest.mark.parametrize("name", DECODERS)
def test_changed_inputs_are_read_or_refused_as_documented(name: str) -> None:
    fuzzing = Fuzzing(name, seed=0)
    fuzzing.begin()
    fuzzing.go_on(SECONDS)
    assert fuzzing.found == {}
    assert fuzzing.read > 0


@pytest.mark.parametrize("name", DECODERS)
@given(content=st.binary(max_size=300))
@QUIET
def test_any_bytes_are_read_or_refused_as_documented(name: str, content: bytes) -> None:
    DECODERS[name].survives(content)


@pytest.mark.parametrize("name", DECODERS)
@given(chance=st.randoms(use_true_random=False))
@QUIET
def test_bytes_that_were_once_sound_are_read_or_refused_as_documented(name: str, chance: random.Random) -> None:
    DECODERS[name].survives(mutated(chance, list(seeds(name).values())))


def test_the_fuzzer_finds_what_a_decoder_must_not_do() -> None:
    """A decoder that stumbles over two bytes in a row that no answer has."""

    def stumbles(content: bytes) -> None:
        if b"[[" in content[:40]:
            raise ZeroDivisionError

    fuzzing = Fuzzing("chunked_body", seed=1)
    fuzzing._decoder = Decoder(stumbles, (ValueError,))
    fuzzing._pool = [b"[]", b"a[b"]
    for _ in range(3000):
        fuzzing.once(mutated(fuzzing._chance, fuzzing._pool))
    assert [what.partition(":")[0] for what in fuzzing.found] == ["ZeroDivisionError"]


def test_the_page_holds_the_newest_go_at_each_decoder_in_each_way(tmp_path: Path) -> None:
    first, second, guided = Fuzzing("frames", 1), Fuzzing("fields", 1), Fuzzing("fields", 1, GUIDED)
    for fuzzing, inputs in ((second, 7), (guided, 5), (first, 3), (second, 1234)):
        fuzzing.inputs = inputs
        note(fuzzing, 2.5, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text().removeprefix(HEAD).splitlines() == [
        "| frames | blind | 2.5 | 3 | 0 | 0 |",
        "| fields | blind | 2.5 | 1,234 | 0 | 0 |",
        "| fields | guided | 2.5 | 5 | 0 | 0 |",
    ]


def test_guided_fuzzing_says_what_it_lacks() -> None:
    words = [sys.executable, "-S", "-m", "tests.faults.guided"]  # -S: no installed package, atheris neither
    ended = subprocess.run(words, cwd=CORPUS.parents[2], env={}, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "needs atheris: `make fuzz`" in ended.stderr


def test_of_inputs_those_are_picked_that_reach_more_code_and_are_short() -> None:
    """Chunks of one byte have no count; `.` and `/` count more samples than two bytes can hold."""
    decoder = DECODERS["chunks"]
    known = arcs(decoder, [b"\x00"])
    assert known
    assert picked(decoder, known, [b"\x00", b"\x00.", b"\x00/", b"\x00/" + bytes(LONGEST)]) == [b"\x00/"]
    assert picked(decoder, known, [b"\x01"]) == []


def test_an_input_that_takes_too_long_is_found() -> None:
    def hangs(_content: bytes) -> None:
        while True:
            pass

    with pytest.raises(TooSlowError):
        timed(Decoder(hangs, ()), b"x")
