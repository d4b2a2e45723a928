"""Answers that are cut, changed or no answers: damaged frames and malformed messages, never a wrong sample."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.prometheus.frames import DamagedError
from tests.sources.prometheus.chunk_writer import bits_of, chunk, field, frame, number, response, series, varint
from tests.sources.prometheus.streamed import START, THREE, A, B, packed, read, told

CUTS = [1, 3, 4, 5, 20, len(THREE) - 1, len(told({"a": "1"}, packed(A))) + 3]


@pytest.mark.parametrize("kept", CUTS)
def test_an_answer_that_ends_within_a_frame_is_damaged(kept: int) -> None:
    with pytest.raises(DamagedError, match="ends within a frame"):
        read(THREE[:kept])


def test_a_wrong_crc_and_an_impossible_length_are_damaged() -> None:
    for at in (3, 40, len(THREE) - 1):
        changed = bytearray(THREE)
        changed[at] ^= 16
        with pytest.raises(DamagedError, match="CRC is wrong"):
            read(bytes(changed))
    with pytest.raises(DamagedError, match="a frame of 50000001 bytes"):
        read(varint(50_000_001) + bytes(100))
    with pytest.raises(DamagedError):
        read(b"\xff" * 30)


def test_an_error_in_words_after_good_frames_is_damaged() -> None:
    with pytest.raises(DamagedError):
        read(THREE + b"expanding series: context deadline exceeded\n")


GOOD = chunk([(START, bits_of(1.0)), (START + 1, bits_of(2.0))])


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a\xff\x01",
        field(1, field(1, b"\x0a\x7f") + field(2, GOOD)),
        field(1, field(2, GOOD) + field(1, field(1, b"late") + field(2, b"x"))),
        field(1, field(1, field(2, b"nameless")) + field(2, GOOD)),
        field(1, field(1, field(1, b"a") + field(1, b"b")) + field(2, GOOD)),
        field(1, field(1, field(1, b"a") + field(2, b"\xff\xfe")) + field(2, GOOD)),
        field(1, field(2, number(3, 1))),
        field(1, field(2, number(3, 1) + field(4, b"\x00"))),
        field(1, field(2, number(3, 1) + field(4, b"\x00\x09\x00\x00"))),
        field(1, field(2, field(3, b"\x01") + field(4, b"\x00\x00"))),
        field(1, field(2, number(3, 1) + number(4, 3))),
        number(1, 5),
        field(2, b"0"),
    ],
    ids=lambda message: message.hex()[:40],
)
def test_a_sound_frame_around_a_broken_message_is_malformed(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # whose words differ
        read(told({"a": "0"}, packed(B)) + frame(message))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_message_in_a_sound_frame_is_read_or_refused(data: st.DataObject) -> None:
    message = bytearray(response([series({"__name__": "m", "a": "1", "b": "long" * 9}, packed(A[:9]) + packed(B))]))
    for _ in range(data.draw(st.integers(1, 5))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        read(frame(bytes(message)))
