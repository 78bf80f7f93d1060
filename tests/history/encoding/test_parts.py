"""The small rules of frames: numbers, order, objects, equality."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exact import exact

from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.history.encoding.codecs import (
    COUNT,
    FLAG,
    IDS,
    NAMES,
    NEW,
    NUMBER,
    PROFILE_STATE,
    TEXT,
    Codec,
    MembersReader,
    MembersWriter,
    is_same,
    names_of,
    record,
    runs_between,
)
from envwatch.history.encoding.packing import LARGEST, numbers_of, packed_numbers, signed, unsigned
from envwatch.model.clock import Clocks, OffsetBounds, ServerClock
from envwatch.model.environment import Environment

_IDS = st.lists(st.sampled_from("abcdefghij"), unique=True)
_NAMES = st.sampled_from(["a", "b", "c", "d"])
_ATOMS = st.sampled_from([None, True, 1, 1.0, 0, 0.0, -0.0, "a", 2**70, 1e300])
_VALUES = _ATOMS | st.lists(_ATOMS, max_size=2) | st.dictionaries(_NAMES, _ATOMS, max_size=2)
_MEMBERS = st.none() | st.dictionaries(_NAMES, _VALUES)


@given(st.lists(st.integers(0, LARGEST) | st.integers(0, 300)))
def test_numbers_come_back(numbers: list[int]) -> None:
    assert numbers_of(packed_numbers(numbers)) == numbers


@pytest.mark.parametrize(("number", "size"), [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (LARGEST, 9)])
def test_a_number_takes_a_byte_for_seven_bits(number: int, size: int) -> None:
    assert len(packed_numbers([number])) == size


@pytest.mark.parametrize("number", [-1, LARGEST + 1])
def test_other_numbers_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="no number"):
        packed_numbers([number])


@pytest.mark.parametrize("data", [b"\x80", b"\x01\xff", b"\xff" * 9 + b"\x01", b"\x80" * 1_000_000 + b"\x01"])
def test_bytes_that_are_no_numbers_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"a number over|is cut"):
        numbers_of(data)


@given(st.lists(st.integers()))
def test_numbers_with_a_sign_come_back(numbers: list[int]) -> None:
    without = signed(numbers)
    assert min(without, default=0) >= 0
    assert unsigned(without) == numbers


@given(_IDS, _IDS)
def test_an_order_is_made_from_the_one_before_by_as_few_runs_as_it_has(before: list[str], after: list[str]) -> None:
    runs = runs_between(before, after)
    new = iter([id_ for id_ in after if id_ not in before])
    made = [next(new) if start == NEW else before[start + index] for start, length in runs for index in range(length)]
    assert made == after
    for (start, length), (following, _) in pairwise(runs):
        assert following != start + length or start == NEW
        assert (start, following) != (NEW, NEW)


def test_one_newcomer_at_the_top_and_one_loss_are_three_runs() -> None:
    before = [str(number) for number in range(1_000)]
    assert runs_between(before, ["new", *before[:500], *before[501:]]) == [(NEW, 1), (0, 500), (501, 499)]


@given(_MEMBERS, _MEMBERS)
def test_a_change_of_an_object_comes_back_in_its_order(before: Any, after: Any) -> None:
    writer = MembersWriter()
    plain = writer.plain_change(before, after)
    assert exact(MembersReader(writer.table).changed(before, plain)) == exact(after)


def test_of_an_object_only_what_changed_is_written() -> None:
    before = {"os": "linux", "version": "1", "commands": ["a"]}
    assert MembersWriter().plain_change(before, before | {"version": "2"}) == [{"version": "2"}, []]


def test_a_list_that_many_rows_share_is_written_once() -> None:
    commands = ["clear", "doctor"]
    writer = MembersWriter()
    assert [writer.plain({"commands": commands}) for _ in range(3)] == [{"commands": [0]}] * 3
    assert writer.table == [commands]


@given(_VALUES, _VALUES)
def test_what_is_the_same_is_so_in_every_type_and_order(one: Any, other: Any) -> None:
    assert is_same(one, other) is (exact(one) == exact(other))


@given(
    st.lists(
        st.tuples(
            *[st.floats(allow_nan=False) | st.integers(-(2**60), 2**60) | st.integers().map(lambda n: n / 4096)] * 2
        ),
        max_size=3,
    )
)
def test_any_bounds_of_a_clock_come_back(pairs: list[tuple[float, float]]) -> None:
    clock = ServerClock(tuple(OffsetBounds(low, high) for low, high in pairs))
    codec = PROFILE_STATE["clock"]
    assert exact(codec.value(codec.plain(clock))) == exact(clock)


def test_every_field_of_a_fleet_and_of_its_rows_is_kept() -> None:
    assert {*PROFILE_STATE} == {*names_of(ProfileState)} - {"profile", "server", "environments", "earlier"}
    assert {*NAMES} == {*names_of(Environment), *names_of(TrackedEnvironment)} - {"environment", "profile", "uptime"}
    assert {*names_of(TrackedEnvironment)} - {*NAMES} == {"profile", "environment", "uptime"}


@pytest.mark.parametrize(
    ("codec", "plain"),
    [
        *[(TEXT, 1), (TEXT, None), (NUMBER, True), (NUMBER, "1"), (COUNT, 1.0), (COUNT, True), (FLAG, 1), (FLAG, None)],
        *[(IDS, "a"), (IDS, {}), (PROFILE_STATE["limits"], []), (PROFILE_STATE["limits"], None)],
        *[(PROFILE_STATE["listings"], 1.0), (PROFILE_STATE["newest"], 1), (PROFILE_STATE["expect"], "a")],
    ],
)
def test_a_plain_value_of_another_type_is_refused(codec: Codec[Any], plain: object) -> None:
    with pytest.raises(ValueError, match="no "):
        codec.value(plain)


def test_a_record_that_leaves_a_field_out_is_refused() -> None:
    with pytest.raises(TypeError, match="without a codec: monotonic"):
        record(Clocks, wall=NUMBER)
