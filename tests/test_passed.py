"""What a costly suite exercises, and when it counts as changed."""

from pathlib import Path

import pytest

from tests.passed import INPUTS, ROOT, digest


@pytest.mark.parametrize("suite", INPUTS)
def test_every_input_that_is_named_is_there(suite: str) -> None:
    assert [pattern for pattern in INPUTS[suite] if not any(ROOT.glob(pattern))] == []


def test_a_digest_changes_with_a_byte_a_name_and_a_file_and_with_nothing_else(tmp_path: Path) -> None:
    def found() -> str:
        return digest(["code/*.py"], tmp_path)

    (tmp_path / "code").mkdir()
    one = tmp_path / "code" / "one.py"
    one.write_text("1\n")
    digests = [found()]
    (tmp_path / "code" / "note.txt").write_text("no input\n")
    assert found() == digests[0]
    one.write_text("2\n")
    digests.append(found())
    one.rename(one.with_name("two.py"))
    digests.append(found())
    one.write_text("")
    digests.append(found())
    assert len(set(digests)) == 4
