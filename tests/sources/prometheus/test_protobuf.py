"""Messages read many at a time are those that were written one by one; what is none says so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.prometheus import protobuf
from pipeline.sources.prometheus.kernels import NUMPY, Kernels
from pipeline.sources.prometheus.protobuf import CONTENT, VARINT, varints
from tests.sources.prometheus.chunk_writer import field, number, varint
from tests.sources.prometheus.every_kernels import EVERY

every = pytest.mark.parametrize("kernels", EVERY)

NUMBERS = st.integers(0, 2**64 - 1)
ONE = st.one_of(
    st.tuples(st.just(VARINT), st.integers(1, 3_000), NUMBERS),
    st.tuples(st.just(CONTENT), st.integers(1, 3_000), st.binary(max_size=300)),
    st.tuples(st.just(protobuf.FIXED64), st.integers(1, 15), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(protobuf.FIXED32), st.integers(1, 15), st.binary(min_size=4, max_size=4)),
)


def laid(messages: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ends = np.cumsum([len(message) for message in messages], dtype=np.int64)
    starts = ends - np.array([len(message) for message in messages], dtype=np.int64)
    return np.frombuffer(b"".join(messages), np.uint8), starts, ends


@every
@given(messages=st.lists(st.lists(ONE, max_size=6), max_size=6))
def test_all_fields_of_all_messages_are_found_in_order(
    kernels: Kernels,
    messages: list[list[tuple[int, int, int | bytes]]],
) -> None:
    written = [
        b"".join(
            varint(n << 3 | wire) + (varint(v) if isinstance(v, int) else varint(len(v)) + v if wire == CONTENT else v)
            for wire, n, v in message
        )
        for message in messages
    ]
    body, starts, ends = laid(written)
    found = kernels.fields(body, starts, ends)
    listed = [
        (owner, wire, n, value if wire == VARINT else body[start:end].tobytes())
        for owner, n, wire, start, end, value in zip(*(c.tolist() for c in found), strict=True)
    ]
    assert listed == [(i, wire, n, v) for i, message in enumerate(messages) for wire, n, v in message]


@given(st.lists(NUMBERS, min_size=1))
def test_numbers_of_any_length_are_read_side_by_side(numbers: list[int]) -> None:
    body, starts, ends = laid([varint(n) for n in numbers])
    values, after = varints(body, starts)
    assert (values.tolist(), after.tolist()) == (numbers, ends.tolist())


@given(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=200))
def test_what_is_written_here_is_what_the_slow_writer_writes(value: int, content: bytes) -> None:
    assert protobuf.varint(value) == varint(value)
    assert protobuf.number_field(3, value) == number(3, value)
    assert protobuf.content_field(2, content) == field(2, content)


@every
@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"\x0a\x05abc", "beyond the end"),
        (b"\x0a", "beyond the end"),
        (b"\x09\x01\x02", "beyond the end"),
        (b"\x08\xff", "beyond the end"),
        (b"\x08" + b"\xff" * 11, "more than ten bytes"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "beyond the end"),
        (b"\x0b\x01", "no known type"),
        (b"\x0f\x01", "no known type"),
    ],
)
def test_what_is_no_message_is_told(message: bytes, says: str, kernels: Kernels) -> None:
    body, starts, ends = laid([field(1, b"fine"), message])
    with pytest.raises(ValueError, match=says):
        kernels.fields(body, starts, ends)


@every
def test_a_field_that_reaches_into_the_next_message_is_no_field(kernels: Kernels) -> None:
    body = np.frombuffer(b"\x0a\x05ab" + field(1, b"next"), np.uint8)
    with pytest.raises(ValueError, match="beyond the end of its message"):
        kernels.fields(body, np.array([0, 4]), np.array([4, 10]))


def test_a_field_of_another_type_than_it_must_have_is_told() -> None:
    found = NUMPY.fields(*laid([number(4, 7)]))
    with pytest.raises(ValueError, match="field 4 is of another type"):
        found.of(4, CONTENT)
    assert found.of(4, VARINT).value.tolist() == [7]


@every
@given(messages=st.lists(st.binary(max_size=40), max_size=4))
def test_noise_has_one_outcome(kernels: Kernels, messages: list[bytes]) -> None:
    def outcome(of: Kernels) -> list[list[int]] | None:
        try:
            return [column.tolist() for column in of.fields(*laid(messages))]
        except ValueError:
            return None

    assert outcome(kernels) == outcome(NUMPY)
