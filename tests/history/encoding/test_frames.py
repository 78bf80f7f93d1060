"""Moments and events survive encoding unchanged: frames, events, packed values, the rules of their parts.

At the end: moments of any values, including values without an example in a fleet of today.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from math import inf
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, beating, environment, listed, reading, served, watched
from support.memory_history import recorded
from support.recording import decode_event, encode_event
from support.tracked_environments import tracked
from support.values import exact

from envwatch.fleet.anomalies import Anomaly, AnomalyFinding, QuarantinedListing, StallDetector
from envwatch.fleet.events import NO_PROFILE, EnvironmentState, Event, Kind
from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck
from envwatch.fleet.presence import GONE, LATE, MISSING, ONLINE, UNTIMED
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import ChangeTag, RecentChange, TrackedEnvironment
from envwatch.history.encoding.differences import NEW, MembersReader, MembersWriter, runs_between
from envwatch.history.encoding.events import EventDecoder, EventEncoder
from envwatch.history.encoding.frames import FrameEncoder, MomentBuilder
from envwatch.history.encoding.packing import (
    LARGEST,
    FramePart,
    numbers_of,
    packed,
    packed_numbers,
    signed,
    unpacked,
    unsigned,
)
from envwatch.history.past import HistoryError, Moment
from envwatch.model.acks import Ack
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerClock, ServerMs, WallMs
from envwatch.model.environment import Environment
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Snapshot
from envwatch.model.text import SafeText, clean, composed
from envwatch.stored.codecs import COUNT, FLAG, IDS, NUMBER, PROFILE_STATE, TEXT, Codec, field_names, is_same, record
from envwatch.stored.rows import NAMES


def test_a_viewers_listing_is_rebuilt_and_needs_nothing_new_in_the_form_of_a_recording() -> None:
    outcomes = [served(listed(beating(20, NOW + at), NOW + at), at / 1000 % 7 + 0.25) for at in range(0, 60_000, 5_000)]
    outcomes[6:6] = [served(listed(beating(20, NOW + 25_000), NOW + 25_000), 4.5, is_repeat=True)] * 2
    history = recorded(outcomes)
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    for poll in history.polls(WallMs(0), WallMs(NOW * 2)):
        frame = encoder.encode(history.moment(poll))
        decoder.apply(frame)
        assert exact(decoder.moment()) == exact(history.moment(poll))
        assert "served" not in str(unpacked(frame.data)[0].plain)


@pytest.mark.parametrize("own", [True, False])
def test_a_skew_check_of_the_new_or_of_another_heartbeat_comes_back(*, own: bool) -> None:
    check = SkewCheck.for_heartbeat(ServerMs(NOW + 20_000 if own else NOW), MonotonicS(5.5), 1.25)
    rows = [tracked(), tracked(lastHeartbeat=NOW + 20_000, lastSeenAt=NOW + 20_000)]
    rows[1] = replace(rows[1], skew_check=check)
    moments = [Moment(reading(), ProfileState(environments={row.environment.id: row})) for row in rows]
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    frames = [encoder.encode(moment) for moment in moments]
    for frame, moment in zip(frames, moments, strict=True):
        decoder.apply(frame)
        assert exact(decoder.moment()) == exact(moment)
    part = unpacked(frames[-1].data)[0].plain
    assert ("beats" in part, "rows" in part) == (own, not own)


def test_encoding_a_whole_moment_takes_at_most_1500_bytes_a_row() -> None:
    profile_state, _ = watched([listed(beating(1_000))])
    tracemalloc.start()
    try:
        FrameEncoder().encode(Moment(reading(), profile_state))
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()


_EVENT_TEXTS = st.sampled_from([clean("online"), clean(""), clean("ключ 漢字"), composed("x" * 1_200)])
_EVENT_TIMES = st.sampled_from([NOW, NOW + 0.1, int(NOW), ServerMs(float("-inf"))]).map(ServerMs)
_STATE = st.builds(
    EnvironmentState,
    environment=st.sampled_from(
        [
            environment(),
            environment("env-2", lastHeartbeat=None, metadata=None, later={"a": [1, 1.0, True]}),
            environment("env-3", lastHeartbeat=int(NOW), connectionId=None, podId=None),
        ]
    ),
    verdict=st.sampled_from([ONLINE, GONE, MISSING, UNTIMED]),
    is_flapping=st.booleans(),
    clock_suspect=st.booleans(),
    left_pod_id=st.none() | _EVENT_TEXTS,
)


def _events(members: st.SearchStrategy[tuple[Event, ...]]) -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        kind=st.sampled_from(Kind),
        at=_EVENT_TIMES,
        profile=st.just(NO_PROFILE),
        id=st.none() | _EVENT_TEXTS,
        name=st.none() | _EVENT_TEXTS,
        field=st.none() | st.just("os"),
        before=st.none() | _EVENT_TEXTS,
        after=st.none() | _EVENT_TEXTS,
        reason=st.none() | _EVENT_TEXTS,
        lasted=st.none() | st.timedeltas(),
        of=st.none() | st.sampled_from(Kind),
        members=members,
        since=st.none() | _EVENT_TIMES,
        incident=st.none() | _EVENT_TEXTS,
        then=st.none() | _STATE,
    )


@given(_events(st.lists(_events(st.just(())), max_size=2).map(tuple)))
def test_every_field_of_an_event_and_of_its_members_comes_back(event: Event) -> None:
    assert exact(decode_event(encode_event(event), NO_PROFILE)) == exact(event)


@settings(max_examples=examples(200))
@given(st.lists(_events(st.lists(_events(st.just(())), max_size=2).map(tuple)), max_size=6))
def test_the_events_of_a_file_come_back_in_any_order(events: list[Event]) -> None:
    encoder = EventEncoder()
    written = {number: encoder.encode(event, number) for number, event in enumerate(events)}
    for numbers in (sorted(written), sorted(written, reverse=True)):
        decoder = EventDecoder(NO_PROFILE, written.__getitem__)
        assert [exact(decoder.decode(written[number])) for number in numbers] == [exact(events[n]) for n in numbers]


def test_of_a_row_of_an_earlier_event_only_changes_are_written() -> None:
    first = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"), then=EnvironmentState(environment(), ONLINE))
    metadata = {**(environment().metadata or {}), "gitBranch": "fix/loop"}
    later = EnvironmentState(replace(environment(), metadata=metadata, last_heartbeat_at=ServerMs(NOW + 1)), ONLINE)
    encoder = EventEncoder()
    whole, change = encoder.encode(first, 1), encoder.encode(replace(first, then=later), 2)
    assert len(whole) == len(encode_event(first))
    assert len(change) < len(whole) / 2
    assert EventDecoder(NO_PROFILE, {1: whole}.__getitem__).decode(change).then == later


def test_an_event_whose_row_is_missing_or_not_whole_is_damaged() -> None:
    event = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"), then=EnvironmentState(environment(), ONLINE))
    encoder = EventEncoder()
    _, change = encoder.encode(event, 1), encoder.encode(event, 2)
    with pytest.raises(HistoryError, match="damaged"):
        decode_event(change, NO_PROFILE)
    for other in (change, encode_event(replace(event, then=None)), b"cut"):
        with pytest.raises(HistoryError, match="damaged"):
            EventDecoder(NO_PROFILE, {1: other}.__getitem__).decode(change)


def test_an_event_of_a_usual_row_takes_as_many_bytes_as_its_ids_and_names() -> None:
    state = EnvironmentState(environment(), ONLINE)
    event = Event(kind=Kind.ONLINE, at=NOW, id=clean("env-1"), name=clean("laptop of env-1"), then=state)
    assert len(encode_event(event)) < 300


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.0, 1e16, 5e-324, 1.7976931348623157e308, inf, -inf, 2**64, -(2**12_999), '\u2028\x7f"\\🚀é']
)
def test_a_value_comes_back_unchanged(value: Any) -> None:
    (part,) = unpacked(packed([FramePart([value], (3, 4), 5)], 6))
    assert exact(part.plain) == exact([value])
    assert (list(part.numbers), part.base) == ([3, 4], 5)


def test_packing_takes_a_few_times_the_bytes_of_the_text() -> None:
    """A whole moment of 10,000 rows has a million small values and one emoji."""
    texts = [f"sandbox-{number}" for number in range(100_000)]
    part = FramePart(["🚀", *texts])
    size = sum(map(len, texts))
    tracemalloc.start()
    try:
        packed([part], 6)
        assert tracemalloc.get_traced_memory()[1] < 4 * size
    finally:
        tracemalloc.stop()


_ORDERS = st.lists(st.sampled_from("abcdefghij"), unique=True)
_KEYS = st.sampled_from(["a", "b", "c", "d"])
_ATOMS = st.sampled_from([None, True, 1, 1.0, 0, 0.0, -0.0, "a", 2**70, 1e300])
_VALUES = _ATOMS | st.lists(_ATOMS, max_size=2) | st.dictionaries(_KEYS, _ATOMS, max_size=2)
_OBJECTS = st.none() | st.dictionaries(_KEYS, _VALUES)


@given(st.lists(st.integers(0, LARGEST) | st.integers(0, 300)), st.lists(st.integers()))
def test_numbers_come_back(numbers: list[int], signed_ones: list[int]) -> None:
    assert numbers_of(packed_numbers(numbers)) == numbers
    without = signed(signed_ones)
    assert min(without, default=0) >= 0
    assert unsigned(without) == signed_ones


@pytest.mark.parametrize(("number", "size"), [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (LARGEST, 9)])
def test_a_number_takes_a_byte_for_seven_bits(number: int, size: int) -> None:
    assert len(packed_numbers([number])) == size


def test_other_numbers_and_bytes_are_refused() -> None:
    for number in (-1, LARGEST + 1):
        with pytest.raises(ValueError, match="no number"):
            packed_numbers([number])
    for data in (b"\x80", b"\x01\xff", b"\xff" * 9 + b"\x01", b"\x80" * 1_000_000 + b"\x01"):
        with pytest.raises(ValueError, match=r"a number over|is cut"):
            numbers_of(data)


@given(_ORDERS, _ORDERS)
def test_an_order_is_made_from_the_order_before_by_as_few_runs_as_possible(before: list[str], after: list[str]) -> None:
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


@given(_OBJECTS, _OBJECTS)
def test_a_change_of_an_object_comes_back_in_its_order(before: Any, after: Any) -> None:
    writer = MembersWriter()
    plain = writer.plain_change(before, after)
    assert exact(MembersReader(writer.table).changed(before, plain)) == exact(after)


def test_of_an_object_only_changes_and_of_a_shared_list_one_copy_are_written() -> None:
    before = {"os": "linux", "version": "1", "commands": ["a"]}
    assert MembersWriter().plain_change(before, before | {"version": "2"}) == [{"version": "2"}, []]
    commands = ["clear", "doctor"]
    writer = MembersWriter()
    assert [writer.plain({"commands": commands}) for _ in range(3)] == [{"commands": [0]}] * 3
    assert writer.table == [commands]


@given(_VALUES, _VALUES)
def test_equal_values_are_equal_in_every_type_and_order(one: Any, other: Any) -> None:
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
    assert {*PROFILE_STATE} == {*field_names(ProfileState)} - {"profile", "server", "environments", "last_run"}
    assert {*NAMES} == {*field_names(Environment), *field_names(TrackedEnvironment)} - {
        "environment",
        "profile",
        "uptime",
    }
    assert {*field_names(TrackedEnvironment)} - {*NAMES} == {"profile", "environment", "uptime"}


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


def test_a_record_without_a_field_is_refused() -> None:
    with pytest.raises(TypeError, match="without a codec: monotonic"):
        record(Clocks, wall=NUMBER)


_ROW = environment()
_INSTANTS: Any = st.sampled_from(
    [0, 0.0, -0.0, int(NOW), NOW, NOW + 30_000, int(NOW) + 30_000, NOW + 29_999.0625, NOW + 0.1, float("-inf"), 1e300]
)
_WALL_CLOCK: Any = st.sampled_from([0.0, NOW, NOW + 30_000, NOW + 0.1])
"""Floats without equal ints: an acknowledgement is written again only if one of its values differs."""
_TEXTS: Any = st.sampled_from([clean(""), clean("a"), clean("ключ")])
_IDS = st.frozensets(_TEXTS)
_MEMBERS = st.sampled_from([{}, {"os": "linux"}, {"os": "linux", "n": 1}, {"n": 1.0, "os": "linux"}, _ROW.metadata])
_CLOCK = st.sampled_from([0, 0.0, -5, NOW, int(NOW), NOW + 0.1])
_READINGS = st.builds(Clocks, _CLOCK, _CLOCK)
_MAYBE = partial(st.one_of, st.none())

_ROWS = st.builds(
    Environment,
    id=st.just(clean("replaced")),
    name=_TEXTS,
    device_id=_TEXTS,
    organization_id=_TEXTS,
    first_seen_at=_INSTANTS,
    last_seen_at=_INSTANTS,
    connection_id=_MAYBE(_TEXTS),
    connected_at=_MAYBE(_INSTANTS),
    last_heartbeat_at=_MAYBE(_INSTANTS),
    metadata=_MAYBE(_MEMBERS),
    unknown=_MEMBERS,
)
_CHECKS = st.builds(SkewCheck, _INSTANTS, _MAYBE(_INSTANTS), _INSTANTS, _INSTANTS) | st.builds(
    SkewCheck.for_heartbeat, _INSTANTS, st.sampled_from([5, 5.0, 7.25]), _MAYBE(st.just(3.5))
)
_TRACKED = st.builds(
    TrackedEnvironment,
    environment=_ROWS,
    verdict=st.sampled_from([ONLINE, LATE, GONE]),
    since_at=_MAYBE(_INSTANTS),
    last_change=_MAYBE(st.builds(RecentChange, st.sampled_from(ChangeTag), _INSTANTS)),
    skew_check=_CHECKS,
    clock_suspect=st.booleans(),
    has_impossible_time=st.booleans(),
    last_known_heartbeat=_MAYBE(st.builds(LastHeartbeat, _TEXTS, _INSTANTS, _INSTANTS)),
    left_pod_id=_MAYBE(_TEXTS),
    absent=st.integers(0, 3),
    transitions=st.lists(_INSTANTS, max_size=2).map(tuple),
    is_flapping=st.booleans(),
    replaced_by=_MAYBE(_TEXTS),
    replaced_by_name=_MAYBE(_TEXTS),
    twins=_IDS,
    offline_beside=_IDS,
)
_CLOCKS = st.lists(st.sampled_from([OffsetBounds(number - 0.25, number + 1_000) for number in range(4)]), max_size=4)
_FLEETS = st.builds(
    ProfileState,
    limits=st.sampled_from([Limits(), Limits(online_for=timedelta(seconds=5), page_size=7)]),
    profile_name=_TEXTS,
    expect=st.lists(_TEXTS, max_size=2).map(tuple),
    listings=st.integers(0, 3),
    began_at=_MAYBE(_INSTANTS),
    listed=_MAYBE(_READINGS),
    elapsed_ms=_INSTANTS,
    newest=_MAYBE(_TEXTS),
    clock=st.builds(ServerClock, _CLOCKS.map(tuple)),
    date_error=_MAYBE(_INSTANTS),
    interval=st.timedeltas(timedelta(), timedelta(days=1)),
    failure=_MAYBE(
        st.builds(
            Failed,
            cause=st.sampled_from(Cause),
            message=_TEXTS,
            started=_READINGS,
            ended=_READINGS,
            interval=st.timedeltas(),
            retry_after=_MAYBE(st.timedeltas()),
            pages_read=st.integers(0, 3),
            page=_MAYBE(st.integers(0, 3)),
        )
    ),
    failures=st.integers(0, 3),
    quarantine=_MAYBE(
        st.builds(
            QuarantinedListing, st.builds(AnomalyFinding, st.sampled_from(Anomaly), _TEXTS), _INSTANTS, _IDS, _IDS
        )
    ),
    stall_detector=st.builds(StallDetector, _INSTANTS, st.booleans(), _MAYBE(_INSTANTS)),
    snapshot=_MAYBE(
        st.builds(
            Snapshot,
            pages=st.just(()),
            rows=st.just({}),
            clock=_CLOCKS.map(tuple),
            rejected=st.integers(0, 3),
            rejected_ids=_IDS,
            confirmed_absent=_IDS,
            in_doubt=_IDS,
            requests=st.integers(0, 3),
            received=st.integers(0, 3),
        )
    ),
    unseen_since=_MAYBE(_READINGS),
    last_up=_MAYBE(_READINGS),
    has_moved_identity=st.booleans(),
    periods=st.dictionaries(st.sampled_from(Kind), _INSTANTS, max_size=2).map(MappingProxyType),
)
_MOMENTS = st.builds(
    Moment,
    _READINGS,
    _FLEETS,
    st.dictionaries(_TEXTS, st.builds(Ack, _WALL_CLOCK, _TEXTS, _MAYBE(_WALL_CLOCK)), max_size=2).map(MappingProxyType),
)


@settings(max_examples=examples(400))
@given(
    moments=st.lists(_MOMENTS, min_size=2, max_size=2),
    rows=st.lists(_TRACKED, min_size=2, max_size=2),
    is_beat=st.booleans(),
)
def test_one_moment_and_the_next(moments: list[Moment], rows: list[TrackedEnvironment], *, is_beat: bool) -> None:
    """One common row changes in every field, or only with the heartbeat."""
    before, after = rows
    if is_beat:
        changes = {name: getattr(after.environment, name) for name in ("last_heartbeat_at", "last_seen_at")}
        after = replace(before, environment=replace(before.environment, **changes), skew_check=after.skew_check)
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    for moment, row in zip(moments, (before, after), strict=True):
        whole = replace(moment, profile_state=replace(moment.profile_state, environments=_as_listed(row)))
        decoder.apply(encoder.encode(whole))
        assert exact(decoder.moment()) == exact(whole)


def _as_listed(tracked: TrackedEnvironment) -> dict[SafeText, TrackedEnvironment]:
    ids = ("env-0", "env-1") if tracked.absent else ("env-1", "env-2", "env-3")
    return {clean(id_): replace(tracked, environment=replace(tracked.environment, id=clean(id_))) for id_ in ids}
