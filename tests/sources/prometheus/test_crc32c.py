"""CRC-32C against the vectors of RFC 3720 and a bitwise loop; no damage hides behind another frame's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.prometheus.crc32c import LANES, crc32c, first_damaged
from pipeline.sources.prometheus.kernels import Kernels
from tests.sources.prometheus.chunk_writer import crc32c as slowly
from tests.sources.prometheus.every_kernels import EVERY

VECTORS = {
    b"123456789": 0xE3069283, bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C, b"": 0,
}  # fmt: skip


def of(message: bytes) -> int:
    return crc32c(np.frombuffer(message, np.uint8))


def judged(messages: list[bytes], sums: list[int], kernels: Kernels) -> int | None:
    """The verdict on messages that lie apart in one body."""
    body, starts, ends = bytearray(), [], []
    for message in messages:
        body += b"\xaa\xbb\xcc"
        starts.append(len(body))
        body += message
        ends.append(len(body))
    columns = (np.array(column, np.int64) for column in (starts, ends))
    return first_damaged(np.frombuffer(bytes(body), np.uint8), *columns, np.array(sums, np.uint32), kernels.lay)


@pytest.mark.parametrize(("message", "expected"), VECTORS.items())
def test_the_vectors_of_the_standard(message: bytes, expected: int) -> None:
    assert of(message) == slowly(message) == expected


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_message_has_the_sum_of_the_bitwise_loop(message: bytes) -> None:
    assert of(message) == slowly(message)


@pytest.mark.parametrize("kernels", EVERY)
@settings(deadline=None)
@given(messages=st.lists(st.binary(max_size=60), max_size=2 * LANES + 5), data=st.data())
def test_sound_frames_pass_and_one_changed_bit_is_found_where_it_is(
    kernels: Kernels, messages: list[bytes], data: st.DataObject
) -> None:
    sums = [slowly(message) for message in messages]
    assert judged(messages, sums, kernels) is None
    if any(messages):
        index = data.draw(st.sampled_from([i for i, message in enumerate(messages) if message]))
        bit = data.draw(st.integers(0, 8 * len(messages[index]) - 1))
        changed = bytearray(messages[index])
        changed[bit // 8] ^= 1 << bit % 8
        messages[index] = bytes(changed)
        assert judged(messages, sums, kernels) == index


@pytest.mark.parametrize("kernels", EVERY)
@pytest.mark.parametrize("other", [1, 2, LANES - 1, LANES + 1])
def test_the_same_damage_in_two_frames_does_not_cancel(other: int, kernels: Kernels) -> None:
    messages = [bytes([i]) * 50 for i in range(2 * LANES)]
    sums = [slowly(message) for message in messages]
    for index in (0, other):
        messages[index] = messages[index][:20] + b"\x07" + messages[index][21:]
    assert judged(messages, sums, kernels) == 0


@pytest.mark.parametrize("kernels", EVERY)
def test_a_wrong_sum_and_sums_of_two_frames_in_each_others_place_are_found(kernels: Kernels) -> None:
    messages = [b"first message", b"other message"]
    sums = [slowly(message) for message in messages]
    assert judged(messages, [sums[0], sums[1] ^ 1], kernels) == 1
    assert judged(messages, sums[::-1], kernels) == 0
    assert judged(messages[::-1], sums, kernels) == 0
