"""Reading any bytes gives a moment or an event, or raises `HistoryError`.

A stranger's recording may hold any number in place of a clock.
"""

from __future__ import annotations

import json
import tracemalloc
import zlib
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, timedelta
from math import inf, nan
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, key_of, listed, reading
from support.lives import plain_life
from support.memory_history import MemoryHistory
from support.policies import soon
from support.recording import decode_event, encode_event
from support.values import fields_of_type

from envwatch.alerts.alert_policy import Word
from envwatch.alerts.incidents import incident_of
from envwatch.alerts.losses import Loss
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.alerts.silences import recurring_silences, silence_of_environments
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.fleet.anomalies import Anomaly, AnomalyFinding, QuarantinedListing, StallDetector
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import EVERYTHING, ChangeTag, RecentChange, TrackedEnvironment
from envwatch.fleet.watched_time import Span
from envwatch.history.encoding.frames import Frame, FrameEncoder, FrameKind, MomentBuilder
from envwatch.history.encoding.packing import FramePart, checksum_of, packed, unpacked
from envwatch.history.past import About, HistoryError, Moment
from envwatch.history.rebuilder import check_clocks
from envwatch.history.recording import RecordingWriter
from envwatch.history.rewound import rewound
from envwatch.history.stored import RecordedFile
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerClock, ServerMs, WallMs
from envwatch.model.environment import Environment
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult
from envwatch.model.text import clean
from envwatch.stored.rows import NAMES
from envwatch.views.table.block import build_block

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


_ALWAYS = (WallMs(0), WallMs(2 * NOW))


def _moments_and_events() -> tuple[list[Moment], Sequence[Event]]:
    """Return moments with every kind of alert: a person's word, an uptime, silences, a waiting loss, an incident."""
    later = [*beating(7, NOW + 5_000, currentMode="acceptEdits"), environment("new", unknownField=[1])]
    nights = recurring_silences([(EVERYTHING, RecurringHours(begin=60, end=120))], UTC)
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon(recurring=nights))
    monitor = monitor.with_uptime_record(NO_PROFILE, UptimeRecord())
    history = MemoryHistory()
    for outcome in (listed(beating(12)), listed(later, NOW + 5_000), failed(at=NOW + 10_000)):
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        history.record(monitor, changes)
        key = key_of("env-3")
        monitor, _ = monitor.with_words({key: Word(is_always=True, at=WallMs(NOW), by=clean("ann"))}, outcome.ended)
        silence = silence_of_environments([key], WallMs(NOW), timedelta(hours=1), clean("disks"), clean("ann"))
        monitor = monitor.with_silences({silence.id: silence})
    moments = list(map(history.moment, history.polls(*_ALWAYS)))
    lost = beating(1)[0]
    event = Event(kind=Kind.OFFLINE, at=ServerMs(NOW), id=lost.id, name=lost.label, incident=clean("inc-1"))
    loss = Loss(event, Span(ServerMs(NOW), ServerMs(NOW)), MonotonicS(1), MonotonicS(2), clean("inc-1"))
    incident = incident_of(NO_PROFILE, [loss, loss._replace(event=replace(event, id=clean("env-2")))], monitor.fleet)
    for place, moment in enumerate(moments):
        alerts = moment.alerts._replace(waiting=(loss,) * (place != 1), open=(incident,) * (place != 0))
        moments[place] = replace(moment, alerts=alerts)
    return moments, history.events(*_ALWAYS)


MOMENTS, EVENTS = _moments_and_events()
_ENCODER = FrameEncoder(bridge_every=2)
FRAMES = [_ENCODER.encode(moment) for moment in MOMENTS]
EVENT_BYTES = [encode_event(event) for event in EVENTS]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=5,
)


def _read(frames: Sequence[Frame]) -> None:
    decoder = MomentBuilder(NO_PROFILE)
    with suppress(HistoryError):
        for frame in frames:
            decoder.apply(frame)
            past = rewound(Monitor.create({NO_PROFILE: Limits()}), {NO_PROFILE: decoder.moment()})
            build_block(past, reading())


def test_there_is_something_of_each_kind_to_damage() -> None:
    assert {frame.kind for frame in FRAMES} == set(FrameKind)
    assert any(event.members for event in EVENTS) or len(EVENTS) > 3


@given(st.sampled_from([*(frame.data for frame in FRAMES), *EVENT_BYTES]), st.data())
def test_a_changed_or_missing_byte_is_damage(data: bytes, draws: st.DataObject) -> None:
    place = draws.draw(st.integers(0, len(data) - 1))
    changed = data[:place] + bytes([data[place] ^ draws.draw(st.integers(1, 255))]) + data[place + 1 :]
    for damaged in (changed, data[:place], data + b"x"):
        with pytest.raises(HistoryError, match="damaged"):
            MomentBuilder(NO_PROFILE).apply(Frame(FrameKind.KEY, damaged))
        with pytest.raises(HistoryError, match="damaged"):
            decode_event(damaged, NO_PROFILE)


@given(st.sampled_from(FrameKind), st.binary(max_size=200))
def test_any_bytes_with_a_right_checksum_are_read_or_refused(kind: FrameKind, body: bytes) -> None:
    for inner in (body, zlib.compress(body)[2:-4]):
        data = zlib.crc32(inner).to_bytes(4, "little") + inner
        _read([Frame(kind, data)])
        with suppress(HistoryError):
            decode_event(data, NO_PROFILE)


@given(st.sampled_from(range(3)), st.data())
def test_any_other_value_in_a_frame_is_read_or_refused(place: int, draws: st.DataObject) -> None:
    part = unpacked(FRAMES[place].data)[0]
    plain = json.loads(json.dumps(part.plain))
    _spoil(plain, draws)
    numbers = draws.draw(st.just(part.numbers) | st.lists(st.integers(0, 2**63 - 1), max_size=40))
    base = checksum_of(FRAMES[place - 1].data) if place == 1 else checksum_of(FRAMES[0].data) if place else 0
    spoiled = Frame(FRAMES[place].kind, packed([FramePart(plain, numbers, base)], 1))
    _read([*FRAMES[: min(place, 1)], spoiled])


@given(st.sampled_from(EVENT_BYTES), st.data())
def test_any_other_value_in_an_event_is_read_or_refused(data: bytes, draws: st.DataObject) -> None:
    plain = json.loads(json.dumps(unpacked(data)[0].plain))
    _spoil(plain, draws)
    with suppress(HistoryError):
        decode_event(packed([FramePart(plain)], 1), NO_PROFILE)


def _spoil(plain: Any, draws: st.DataObject) -> None:
    places: list[tuple[Any, Any]] = []
    values = [plain]
    while values:
        value = values.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
        places += [(value, key) for key in keys]
        values += [value[key] for key in keys]
    holder, key = draws.draw(st.sampled_from(places))
    holder[key] = draws.draw(_JSON)


def test_an_endless_inflation_is_refused_before_the_memory_is_full() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join([*(deflater.compress(bytes(1 << 20)) for _ in range(20)), deflater.flush()])
    tracemalloc.start()
    try:
        with pytest.raises(HistoryError, match="too large"):
            unpacked(zlib.crc32(bomb).to_bytes(4, "little") + bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 << 20


def test_a_value_deflated_to_next_to_nothing_is_read_all_the_same() -> None:
    """A fleet of equal rows must not be taken for an attack."""
    plain = ["x" * 1_000] * 5_000
    assert unpacked(packed([FramePart(plain)], 9))[0].plain == plain


def test_a_recording_of_another_program_cannot_bring_a_control_sequence_to_the_screen() -> None:
    part = unpacked(FRAMES[0].data)[0]
    evil = "\x1b[2J\u202eevil"
    text = json.dumps(part.plain)
    for usual in ("laptop of", "/home/hiro"):
        text = text.replace(usual, json.dumps(evil)[1:-1])
    decoder = MomentBuilder(NO_PROFILE)
    decoder.apply(Frame(FrameKind.KEY, packed([part._replace(plain=json.loads(text))], 1)))
    shown = [tracked.environment for tracked in decoder.moment().profile_state.environments.values()]
    assert all(row.name == clean(row.name) and "evil" in row.name for row in shown)
    assert all(row.working_directory == clean(row.working_directory or "") for row in shown)


def test_a_frame_whose_predecessor_is_missing_is_refused() -> None:
    decoder = MomentBuilder(NO_PROFILE)
    for before, frame in ([], FRAMES[1]), ([], FRAMES[2]), (FRAMES[:2], FRAMES[1]):
        for each in before:
            decoder.apply(each)
        with pytest.raises(HistoryError, match="missing"):
            decoder.apply(frame)
        with pytest.raises(HistoryError, match="no frame"):
            decoder.moment()


def test_a_moment_and_an_event_have_the_label_of_their_reader() -> None:
    decoder = MomentBuilder(clean("prod"))
    decoder.apply(FRAMES[0])
    profile_state = decoder.moment().profile_state
    assert {profile_state.profile, *(tracked.profile for tracked in profile_state.environments.values())} == {"prod"}
    assert {event.profile for data in EVENT_BYTES for event in flatten([decode_event(data, clean("prod"))])} == {"prod"}


def test_after_damage_a_whole_frame_is_read_again() -> None:
    decoder = MomentBuilder(NO_PROFILE)
    with pytest.raises(HistoryError):
        decoder.apply(Frame(FrameKind.KEY, b"cut"))
    decoder.apply(FRAMES[0])
    assert decoder.moment() == MOMENTS[0]


@pytest.mark.parametrize("wall", [float("inf"), -1.1e15, 10**400, "now", None, True])
def test_an_impossible_clock_of_a_frame_is_refused(wall: object) -> None:
    part = unpacked(FRAMES[0].data)[0]
    part.plain["now"]["wall"] = wall
    with pytest.raises(HistoryError, match="damaged"):
        MomentBuilder(NO_PROFILE).apply(Frame(FrameKind.KEY, packed([part], 1)))


def _with(change: Callable[[Any], object]) -> Frame:
    (part,) = unpacked(FRAMES[0].data)
    change(part.plain)
    return Frame(FrameKind.KEY, packed([part], 6))


def test_unknown_fields_are_never_null_as_metadata_may_be() -> None:
    decoder, rows = MomentBuilder(NO_PROFILE), [None] * len(MOMENTS[0].profile_state.environments)
    decoder.apply(_with(lambda plain: plain["new"].__setitem__(NAMES.index("metadata"), rows)))
    with pytest.raises(HistoryError):
        decoder.apply(_with(lambda plain: plain["new"].__setitem__(NAMES.index("unknown"), rows)))
    plain = {"now": {"wall": NOW, "monotonic": 0}, "fleet": {}, "rows": [[0, NAMES.index("unknown"), None]]}
    step = FramePart(plain, base=checksum_of(FRAMES[0].data))
    decoder.apply(FRAMES[0])
    with pytest.raises(HistoryError):
        decoder.apply(Frame(FrameKind.STEP, packed([step], 6)))


def test_a_field_unknown_to_an_earlier_version_has_its_default() -> None:
    part = unpacked(FRAMES[0].data)[0]
    del part.plain["new"][NAMES.index("is_flapping") :]
    del part.plain["fleet"]["failures"]
    decoder = MomentBuilder(NO_PROFILE)
    decoder.apply(Frame(FrameKind.KEY, packed([part], 1)))
    assert decoder.moment() == MOMENTS[0]


def test_a_field_of_a_later_version_is_ignored() -> None:
    part = unpacked(FRAMES[1].data)[0]
    plain = part.plain
    plain["fleet"]["weather"] = plain["weather"] = {"fine": True}
    plain["rows"][0] += [99, "a cell"]
    whole = unpacked(FRAMES[0].data)[0]
    whole.plain["new"].append([0] * 12)
    decoder = MomentBuilder(NO_PROFILE)
    key = packed([whole], 1)
    decoder.apply(Frame(FrameKind.KEY, key))
    decoder.apply(Frame(FrameKind.STEP, packed([part._replace(base=checksum_of(key))], 1)))
    assert decoder.moment().profile_state.environments == MOMENTS[1].profile_state.environments


PROFILE_STATE: Final = ProfileState().apply(listed(beating(3)))[0]


def wall(at: Any) -> Clocks:
    return Clocks(WallMs(at), MonotonicS(0.0))


def quarantined(since: Any) -> QuarantinedListing:
    return QuarantinedListing(AnomalyFinding(Anomaly.EMPTIED, clean("empty")), since)


PLACES: Final[dict[str, Callable[[Any], ProfileState]]] = {
    "listed": lambda n: replace(PROFILE_STATE, listed=wall(n)),
    "listed, monotonic": lambda n: replace(PROFILE_STATE, listed=Clocks(WallMs(NOW), n)),
    "last up": lambda n: replace(PROFILE_STATE, last_up=wall(n)),
    "unseen since": lambda n: replace(PROFILE_STATE, unseen_since=wall(n)),
    "failure": lambda n: replace(PROFILE_STATE, failure=replace(failed(), started=wall(n))),
    "failure, its end": lambda n: replace(PROFILE_STATE, failure=replace(failed(), ended=wall(n))),
    "clock": lambda n: replace(PROFILE_STATE, clock=ServerClock((OffsetBounds(n, 0.0),))),
    "clock, its end": lambda n: replace(PROFILE_STATE, clock=ServerClock((OffsetBounds(0.0, n),))),
    "elapsed": lambda n: replace(PROFILE_STATE, elapsed_ms=n),
    "stall": lambda n: replace(PROFILE_STATE, stall_detector=StallDetector(silent_s=n)),
    "end of a stall": lambda n: replace(PROFILE_STATE, stall_detector=StallDetector(resumed_at=n)),
    "period": lambda n: replace(PROFILE_STATE, periods=MappingProxyType({Kind.BLIND: n})),
    "begin": lambda n: replace(PROFILE_STATE, began_at=n),
    "error of a date": lambda n: replace(PROFILE_STATE, date_error=n),
    "hold": lambda n: replace(PROFILE_STATE, quarantine=quarantined(n)),
    "transitions": lambda n: with_row(transitions=(ServerMs(0.0), n)),
}


IN_SECONDS: Final = frozenset({"listed, monotonic", "stall", "hold"})


@pytest.mark.parametrize("place", PLACES)
def test_an_impossible_clock_is_refused(place: str) -> None:
    def check(number: float) -> None:
        is_divided = place in IN_SECONDS and number != 10**400  # beyond any float
        check_clocks(Moment(reading(), PLACES[place](number / 1000 if is_divided else number)))

    for possible in (0.0, NOW, 9.99e14, -9.99e14):
        check(possible)
    for impossible in (nan, inf, -inf, 1e15, -1e15, 10**400):
        with pytest.raises(HistoryError, match="a clock in it shows what none can"):
            check(impossible)


@pytest.mark.parametrize(
    "moment",
    [
        Moment(wall(nan), PROFILE_STATE),
        Moment(Clocks(WallMs(NOW), MonotonicS(inf)), PROFILE_STATE),
        Moment(reading(), replace(PROFILE_STATE, interval=timedelta(milliseconds=1e15))),
    ],
)
def test_an_impossible_present_and_interval_are_refused(moment: Moment) -> None:
    with pytest.raises(HistoryError):
        check_clocks(moment)
    check_clocks(Moment(reading(), replace(PROFILE_STATE, interval=timedelta(milliseconds=9.99e14))))


def with_row(**changes: Any) -> ProfileState:
    first, tracked = next(iter(PROFILE_STATE.environments.items()))
    in_row = {name: number for name, number in changes.items() if hasattr(tracked.environment, name)}
    changed = replace(tracked, environment=replace(tracked.environment, **in_row))
    changed = replace(changed, **{name: number for name, number in changes.items() if name not in in_row})
    return replace(PROFILE_STATE, environments={**PROFILE_STATE.environments, first: changed})


ROWS: Final[dict[str, Callable[[Any], ProfileState]]] = {
    **{
        name: lambda n, name=name: with_row(**{name: n})  # type: ignore[misc]
        for name in (*fields_of_type(Environment, ServerMs), *fields_of_type(TrackedEnvironment, ServerMs))
    },
    "last_change": lambda n: with_row(last_change=RecentChange(ChangeTag.NEW, n)),
    "skew_check": lambda n: with_row(skew_check=SkewCheck(MonotonicS(0.0), None, n, n)),
    "last known heartbeat": lambda n: with_row(last_known_heartbeat=LastHeartbeat(clean("c"), n, 0.0)),
    "last known heartbeat, elapsed": lambda n: with_row(
        last_known_heartbeat=LastHeartbeat(clean("c"), ServerMs(0.0), n)
    ),
}


@pytest.mark.parametrize("place", ROWS)
def test_a_row_may_have_any_number_for_calculations(place: str) -> None:
    for number in (0.0, NOW, inf, -inf, 1e300, 0):
        check_clocks(Moment(reading(), ROWS[place](number)))
    for number in (nan, 10**400):
        with pytest.raises(HistoryError):
            check_clocks(Moment(reading(), ROWS[place](number)))
    check_clocks(Moment(reading(), PROFILE_STATE))


def test_an_impossible_moment_of_a_file_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    about = About(profile=clean("prod"), base_url=clean("https://letta.example"), version=clean("1.0"))
    with closing(RecordingWriter(path, about)) as writer:
        for profile_state in (PLACES["clock"](inf), ROWS["last_heartbeat_at"](nan), PROFILE_STATE):
            writer.start_run()
            writer.write(Moment(reading(), profile_state), PollResult.LISTED)
    with closing(RecordedFile(path)) as file:
        *impossible, fine = file.polls()
        for poll in impossible:
            with pytest.raises(HistoryError, match="shows what none can"):
                file.moment(poll)
            with pytest.raises(HistoryError, match="shows what none can"):
                list(map(file.moment, [poll]))
        assert file.moment(fine).profile_state == PROFILE_STATE


def test_a_whole_life_is_possible() -> None:
    for moment in plain_life().moments:
        check_clocks(moment)
