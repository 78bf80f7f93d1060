"""The values of rows and group headers: marks, tags, tones and reasons, each by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, environment, key_of, listed, reading
from support.policies import soon
from support.tracked_environments import contexts_at

from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import Silence
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.tracking import ChangeTag
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.views.events.matching import compile_matcher
from envwatch.views.state_style import Piece
from envwatch.views.table.columns import COLUMNS, FIXED
from envwatch.views.table.row_values import are_headers_ticking, header_values, snapshot_of
from envwatch.views.table.table_view import GroupHeader, groups_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment
    from envwatch.views.table.row_values import RowSnapshot

LOST: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - 200_000}
LATE: dict[str, Any] = {"lastHeartbeat": NOW - 60_000}
SHARED_ACK = {"ack": {"by": "ops-1", "at": 1, "note": "on it"}}
SHARED_SILENCE = {"silence": {"by": "ops-1", "until": NOW + 90_000}}
ACK = Ack(NOW, clean("known"))


def silence_of(*ids: str, lasts_s: float = 150) -> Silence:
    until = WallMs(NOW + lasts_s * 1000)
    keys, by = frozenset(map(key_of, ids)), clean("ana")
    return Silence(id=clean("1" * 8), environments=keys, at=WallMs(NOW), until=until, note=clean(""), by=by)


def monitor_of(
    rows: Sequence[Environment],
    *,
    acked: Sequence[str] = (),
    silenced: Sequence[str] = (),
    alert: str = "!name:test-*",
) -> Monitor:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon(alert=compile_matcher(alert)))
    monitor, _ = monitor.apply(NO_PROFILE, listed(rows), reading())
    silences = [silence_of(*silenced)] if silenced else []
    return monitor.with_acks({key_of(id_): ACK for id_ in acked}).with_silences({each.id: each for each in silences})


def snapshot(monitor: Monitor, at: float = NOW, width: int = 20, *, is_mostly_behind: bool = False) -> RowSnapshot:
    """Return the values of the first row in a table whose column WHY has `width` cells."""
    tracked = next(monitor.fleet.environments)
    columns, behind = [(COLUMNS[id_], width) for id_ in (*FIXED, "why")], [NO_PROFILE] if is_mostly_behind else []
    return snapshot_of(tracked, contexts_at(monitor, at)[NO_PROFILE], columns, frozenset({clean("web")}), behind)


def one(**changes: Any) -> list[Environment]:
    return [environment("env-1", **changes)]


@pytest.mark.parametrize(
    ("marks", "acked", "silenced", "mark", "why"),
    [
        ({}, False, False, None, "disconnected"),
        ({}, True, False, "acknowledged", "acked: known"),
        ({}, False, True, "silenced", "silenced until "),
        ({}, True, True, "acknowledged", "silenced until "),
        (SHARED_ACK, False, False, "acknowledged", "acked by ops-1"),
        (SHARED_SILENCE, False, False, "silenced", "silenced until "),
        (SHARED_ACK | SHARED_SILENCE, False, False, "acknowledged", "acked by ops-1"),
        (SHARED_ACK, False, True, "acknowledged", "silenced until "),
        (SHARED_SILENCE, True, False, "acknowledged", "acked: known"),
    ],
)
def test_an_acknowledgement_precedes_a_silence(
    *, marks: dict[str, Any], acked: bool, silenced: bool, mark: str | None, why: str
) -> None:
    ids = ("env-1",)
    monitor = monitor_of(one(envwatch=marks, **LOST), acked=ids if acked else (), silenced=ids if silenced else ())
    rest = snapshot(monitor).rest
    assert rest.mark == mark
    assert why in (rest.ticking[0] or "")


def test_a_row_just_back_shows_no_acknowledgement() -> None:
    assert snapshot(monitor_of(one(), acked=["env-1"])).rest.mark is None
    assert snapshot(monitor_of(one(**LATE), acked=["env-1"])).rest.mark == "acknowledged"


def test_a_narrow_reason_has_the_mark_of_a_person_and_a_wide_reason_has_the_cause_before() -> None:
    silenced, acked = monitor_of(one(**LOST), silenced=["env-1"]), monitor_of(one(**LOST), acked=["env-1"])
    texts = [
        snapshot(monitor, width=width).rest.ticking[0] or "" for monitor in (silenced, acked) for width in (14, 27)
    ]
    assert texts[0].startswith("until ")
    assert texts[1].startswith("silenced until ")
    assert texts[2:] == ["acked: known", "disconnected · acked: known"]


def test_a_row_of_an_unknown_profile_promises_no_end_and_has_the_style_of_unknown_rows() -> None:
    monitor = monitor_of(one(**LATE))
    assert snapshot(monitor).rest.ticking[0] == "off in 60 s"
    assert snapshot(monitor, NOW + 3_600_000).rest.ticking[0] is None
    assert snapshot(monitor_of(one(**LOST)), NOW + 3_600_000).look.style == "unknown"


@pytest.mark.parametrize(
    ("row", "silenced", "style", "tone"),
    [
        ({"deviceId": "device-1", **LOST}, False, "gone", "gone"),
        ({"deviceId": "sandbox-1", **LOST}, False, "gone", "gone"),
        ({"deviceId": "device-1", **LATE}, False, "late", None),
        ({"deviceId": "device-1", **LATE}, True, "gone", None),
        ({"deviceId": "sandbox-1", **LATE}, False, "gone", None),
        ({"deviceId": "sandbox-1", "lastHeartbeat": NOW - 1_000}, False, "online", "healthy"),
        ({"connectionName": "test-1", **LOST}, False, "gone", "gone"),
        ({"connectionName": "test-1", "lastHeartbeat": NOW - 1_000}, False, "online", "healthy"),
    ],
)
def test_a_row_in_need_of_nobody_is_soft(*, row: dict[str, Any], silenced: bool, style: str, tone: str | None) -> None:
    found = snapshot(monitor_of(one(**row), silenced=["env-1"] if silenced else ()))
    assert (found.look.style, found.rest.tone) == (style, tone)


@pytest.mark.parametrize(
    ("acked", "silenced", "shown"),
    [
        (False, False, (ChangeTag.MODE, None)),
        (True, False, (None, None)),
        (False, True, (None, "healthy")),
    ],
)
def test_a_fresh_change_has_a_tag_unless_the_row_is_acknowledged_or_silenced(
    shown: tuple[ChangeTag | None, str | None], *, acked: bool, silenced: bool
) -> None:
    changes = LATE if acked else {}
    monitor = monitor_of(one(currentMode="plan", **changes))
    for at in (NOW + 5_000, NOW + 10_000):
        row = one(currentMode="standard", **({"lastHeartbeat": at} | changes))
        monitor, _ = monitor.apply(NO_PROFILE, listed(row, at), reading(at))
    marked = monitor.with_acks({key_of("env-1"): ACK} if acked else {})
    marked = marked.with_silences({clean("1" * 8): silence_of("env-1")} if silenced else {})
    rest = snapshot(marked, NOW + 10_000).rest
    assert (rest.tag, rest.tone) == shown


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ({"metadata": {"lettaCodeVersion": "9.9.9"}}, ChangeTag.VERSION),
        ({"connectionId": "conn-2"}, ChangeTag.CONNECTION),
    ],
)
def test_a_new_version_or_connection_has_no_tag_in_the_table(changes: dict[str, Any], change: ChangeTag) -> None:
    monitor = monitor_of(one(lastHeartbeat=NOW))
    monitor, _ = monitor.apply(NO_PROFILE, listed(one(lastHeartbeat=NOW, **changes), NOW + 5_000), reading(NOW + 5_000))
    assert next(monitor.fleet.environments).tag(NOW + 5_000) is change
    rest = snapshot(monitor, NOW + 5_000).rest
    assert (rest.tag, rest.tone) == (None, "healthy")


def test_a_loss_has_no_tag_in_the_table() -> None:
    monitor = monitor_of(one(lastHeartbeat=NOW))
    for at in (NOW + 5_000, NOW + 10_000):
        monitor, _ = monitor.apply(NO_PROFILE, listed(one(**LOST), at), reading(at))
    assert next(monitor.fleet.environments).tag(NOW + 10_000) is ChangeTag.NEW
    assert snapshot(monitor, NOW + 10_000).rest.tag is None


def test_an_ambiguous_name_has_a_part_of_the_id_and_no_version_is_behind_if_most_are() -> None:
    tails = [snapshot(monitor_of(one(connectionName=name))).rest.tail for name in ("web", "db", " ")]
    assert tails == [" nv-1", "", ""]
    monitor = monitor_of(one())
    assert snapshot(monitor).rest.newest == "0.34.12"
    assert snapshot(monitor, is_mostly_behind=True).rest.newest is None


def header_of(monitor: Monitor) -> GroupHeader:
    header, *_ = groups_of([*monitor.fleet.environments], "pod", frozenset())
    assert isinstance(header, GroupHeader)
    return header


@pytest.mark.parametrize(
    ("acked", "silenced", "shared", "mark"),
    [
        ("", "", "", None),
        ("a", "", "", None),
        ("ab", "", "", "acknowledged"),
        ("a", "b", "", "silenced"),
        ("b", "a", "", "silenced"),
        ("", "ab", "", "silenced"),
        ("a", "", "b", "acknowledged"),
        ("", "", "a", None),
        ("", "", "ab", "acknowledged"),
    ],
)
def test_a_group_has_the_mark_of_all_of_its_problems(acked: str, silenced: str, shared: str, mark: str | None) -> None:
    rows = [
        environment("up"),
        *(environment(id_, envwatch=SHARED_ACK if id_ in shared else {}, **LATE) for id_ in "ab"),
    ]
    monitor = monitor_of(rows, acked=acked, silenced=silenced)
    found, pieces = header_values(header_of(monitor), contexts_at(monitor))
    assert found == mark
    assert pieces == [Piece(clean("● 1"), "online"), Piece(clean("◐ 2"), "late")]
    assert are_headers_ticking(contexts_at(monitor)) is bool(silenced)


def test_a_group_says_until_when_the_first_row_is_silenced_and_counts_unknown_rows_by_question_marks() -> None:
    monitor = monitor_of([environment(id_, **LOST) for id_ in "ab"], silenced="ab")
    monitor = monitor.with_silences({clean("2" * 8): silence_of("b", lasts_s=99)._replace(id=clean("2" * 8))})
    mark, pieces = header_values(header_of(monitor), contexts_at(monitor))
    assert mark == "silenced"
    assert pieces[0] == Piece(clean("○ 2"), "gone")
    assert pieces[1].text.startswith("silenced until ")
    monitor = monitor_of([environment("up"), environment("late", **LATE)])
    _, pieces = header_values(header_of(monitor), contexts_at(monitor, NOW + 3_600_000))
    assert pieces == [Piece(clean("? 1"), "unknown"), Piece(clean("? 1"), "unknown")]
    monitor = monitor_of(one())
    assert header_values(header_of(monitor), contexts_at(monitor))[0] is None
