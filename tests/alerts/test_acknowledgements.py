"""Acknowledged problems: the end, the format, and the answer about each row that a viewer acknowledges."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, entries_of, key_of, reading
from support.hostile_fleet import WEAPONS
from support.policies import soon
from support.scripted_watch import Night, night, row
from support.tracked_environments import tracked

from envwatch.alerts.acknowledgements import (
    ack_of,
    acks_of,
    acks_of_uuid,
    answered,
    contradicts,
    ended_acks,
    losses_of,
    split_acks,
    with_changes,
)
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.presence import GONE, NEVER_LISTED
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.acks import LONGEST_NOTE, Ack, AckedLoss, AckedRow, AckResult, clean_note
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.environment import Environment
from envwatch.model.text import EMPTY, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from envwatch.alerts.acknowledgements import Acks, ServerKey
    from envwatch.model.acks import AckAnswer


DAY = 86_400_000
ID = clean("env-1")
KEY = key_of(ID)
ACKS = {KEY: Ack(NOW, clean("known"))}

WELL = tracked()
LATE = tracked(lastHeartbeat=NOW - 45_000)
OFFLINE = tracked(connectionId=None)
FLAPPING = replace(WELL, is_flapping=True)
GONE_ROW = replace(OFFLINE, verdict=GONE, absent=2)


def of_profile(profile: str, row: TrackedEnvironment) -> TrackedEnvironment:
    return replace(row, profile=clean(profile))


def ended(acks: Acks, *rows: TrackedEnvironment) -> frozenset[ServerKey]:
    """Return the ended acknowledgements of a fleet with these rows."""
    by_profile = {
        profile: ProfileState(
            profile=profile, environments={row.environment.id: row for row in rows if row.profile == profile}
        )
        for profile in dict.fromkeys(row.profile for row in rows)
    }
    return ended_acks(acks, Fleet(by_profile))


@pytest.mark.parametrize(
    ("row", "is_problem"),
    [
        (WELL, False),
        (tracked(lastHeartbeat=NOW - 44_999), False),
        (LATE, True),
        (OFFLINE, True),
        (FLAPPING, True),
        (replace(WELL, verdict=GONE), False),
    ],
)
def test_offline_late_and_flapping_rows_are_problems(row: TrackedEnvironment, *, is_problem: bool) -> None:
    assert row.is_unhealthy is is_problem


def test_an_acknowledgement_ends_in_time_and_no_estimate_of_the_clock_revives_the_acknowledgement() -> None:
    fleet = Fleet({NO_PROFILE: ProfileState()})
    acks = {KEY: Ack(NOW - DAY, EMPTY, until=NOW), key_of("env-2"): Ack(NOW - DAY, EMPTY)}
    timed = {KEY: acks[KEY]}
    assert split_acks(acks, {}, fleet, WallMs(NOW - 1)) == (acks, {})
    lasting = {key: ack for key, ack in acks.items() if ack.until is None}
    assert split_acks(acks, {}, fleet, WallMs(NOW)) == (lasting, timed)
    assert split_acks(acks, timed, fleet, WallMs(NOW - 500)) == (lasting, timed)
    longer = {KEY: replace(acks[KEY], until=NOW + 1)}
    assert split_acks(longer, timed, fleet, WallMs(NOW)) == (longer, {})


RECOVERY: dict[str, tuple[Acks, list[TrackedEnvironment], bool]] = {
    "well": (ACKS, [WELL], True),
    "late": (ACKS, [LATE], False),
    "offline": (ACKS, [OFFLINE], False),
    "flapping": (ACKS, [FLAPPING], False),
    "late, with a heartbeat since": ({KEY: Ack(NOW - 50_000, EMPTY)}, [LATE], False),
    "gone": (ACKS, [GONE_ROW], False),
    "gone, without the listings that prove it": (ACKS, [replace(OFFLINE, verdict=GONE)], False),
    "absent": (ACKS, [replace(WELL, absent=1)], False),
    "not listed": (ACKS, [], False),
    "without an acknowledgement": ({}, [WELL], False),
    "another row": (ACKS, [tracked(id="env-2"), OFFLINE], False),
    "well under two profiles": (ACKS, [of_profile("a", WELL), of_profile("b", WELL)], True),
    "late under one of two": (ACKS, [of_profile("a", WELL), of_profile("b", LATE)], False),
    "late under the other of two": (ACKS, [of_profile("a", LATE), of_profile("b", WELL)], False),
    "gone under one of two": (ACKS, [of_profile("a", WELL), of_profile("b", GONE_ROW)], True),
    "absent under one of two": (ACKS, [of_profile("a", replace(OFFLINE, absent=1)), of_profile("b", WELL)], True),
}


@pytest.mark.parametrize(("acks", "rows", "ends"), RECOVERY.values(), ids=RECOVERY)
def test_an_acknowledgement_ends_once_every_listed_row_is_well(
    acks: Acks, rows: list[TrackedEnvironment], *, ends: bool
) -> None:
    assert ended(acks, *rows) == ({KEY} if ends else frozenset())


@pytest.mark.parametrize(("sign", "came_back"), [(0, False), (1, True)])
@pytest.mark.parametrize("field", ["lastSeenAt", "lastHeartbeat"])
def test_an_offline_row_with_a_newer_sign_of_life_had_come_back_unseen(
    field: str, sign: float, *, came_back: bool
) -> None:
    signs = (
        {"lastHeartbeat": None, "lastSeenAt": NOW + sign} if field == "lastSeenAt" else {"lastHeartbeat": NOW + sign}
    )
    row = tracked(connectionId=None, **signs)
    assert (ended(ACKS, row) == {KEY}) is came_back
    assert ended(ACKS, replace(row, is_flapping=True)) == frozenset()


@pytest.mark.parametrize("skew", [-DAY, -600_000, 0, 600_000, DAY])
@pytest.mark.parametrize(("sign", "came_back"), [(0, False), (1, True)])
def test_no_local_clock_decides_about_an_unseen_return(skew: float, sign: float, *, came_back: bool) -> None:
    """Last seen three minutes before the acknowledgement; all instants are the platform's."""
    seen_at = NOW - 180_000

    def lost(at: float) -> TrackedEnvironment:
        return tracked(connectionId=None, lastHeartbeat=None, lastSeenAt=at)

    acks = {KEY: ack_of(lost(seen_at), NOW + skew, clean("known"))}
    assert (ended(acks, lost(seen_at + sign)) == {KEY}) is came_back


@pytest.mark.parametrize(("lasts", "until"), [(None, None), (timedelta(hours=1), NOW + 3_600_000)])
def test_an_acknowledgement_has_the_newest_sign_of_life_and_its_own_end(
    lasts: timedelta | None, until: float | None
) -> None:
    assert ack_of(OFFLINE, NOW, clean("known"), lasts) == Ack(NOW, clean("known"), NOW - 12_000, until=until)


def test_the_acknowledgement_of_a_missing_name_ends_with_a_row_of_the_name() -> None:
    one = night("a", policies=soon(expect=(clean("b"), clean("c")))).hold(20).ack("expected b", "expected c").hold(20)
    assert one.monitor.acks.keys() == {key_of("expected b"), key_of("expected c")}
    one.names = ["a", "b"]
    assert one.poll().monitor.acks.keys() == {key_of("expected c")}


@pytest.mark.parametrize("seen", [-1_000, 1_000])
def test_a_heartbeat_removed_by_the_platform_is_no_sign_of_life(seen: float) -> None:
    lost = tracked(lastHeartbeat=NOW - 130_000, lastSeenAt=NOW - 130_000 + seen)
    acks = {KEY: ack_of(lost, NOW, clean("known"))}
    assert ended(acks, lost) == frozenset()

    cut_off = tracked(connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 130_000 + seen)
    assert ended(acks, cut_off) == frozenset()


@pytest.mark.parametrize(
    ("row", "is_lost"),
    [
        (OFFLINE, True),
        (WELL, False),
        (LATE, False),
        (FLAPPING, False),
        (replace(OFFLINE, absent=1), False),
        (GONE_ROW, False),
        (tracked(id="env-2", connectionId=None), False),
    ],
)
def test_a_row_down_at_the_end_of_its_acknowledgement_is_an_unknown_loss(
    row: TrackedEnvironment, *, is_lost: bool
) -> None:
    losses = losses_of({KEY}, [of_profile("work", row)])
    events = [(loss.kind, loss.profile, loss.id, loss.name, loss.before, loss.after) for loss in losses]
    assert events == [(Kind.OFFLINE, "work", ID, row.environment.name, "online", "offline")] * is_lost


@pytest.mark.parametrize(("since", "at"), [(None, NOW - 12_000), (ServerMs(NOW - 5_000), NOW - 5_000)])
def test_the_loss_of_an_ended_acknowledgement_is_as_old_as_the_row_is_down(since: ServerMs | None, at: float) -> None:
    (loss,) = losses_of({KEY}, [replace(OFFLINE, since_at=since)])
    assert loss.at == at


# The end of an acknowledgement before the end of the loss


def test_an_ended_acknowledgement_resolves_the_incident_and_opens_a_new_one() -> None:
    one = night("a").hold(20, "a").ack("a", lasts=600).hold(590, "a")
    assert one.sizes == ([1], [])
    one.hold(80, "a")
    assert one.sizes == ([1, 1], [1])
    assert one.resolved[0].ended_by == "acknowledgement ended"
    assert one.opened[0].id != one.opened[1].id
    assert one.hold(600, "a").hold(70).sizes == ([1, 1], [1, 1])


def test_only_rows_with_an_ended_acknowledgement_leave_the_incident() -> None:
    one = night("a", "b").hold(20, "a", "b").ack("a", lasts=600).ack("b").hold(680, "a", "b")
    assert one.lost() == [{"a", "b"}, {"a"}]
    assert one.hold(70, "b").sizes == ([2, 1], [1])
    assert one.hold(70).sizes == ([2, 1], [1, 2])


@pytest.mark.parametrize(("hours", "opened"), [(23.9, 1), (24.1, 0)])
def test_a_settled_row_is_not_lost_anew_at_the_end_of_its_acknowledgement(hours: float, opened: int) -> None:
    one = night("b")
    off = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - hours * 3_600_000}
    for poll in range(12):
        if poll == 2:
            one.ack("a").end_ack("a")
        one.later(5).show([row("b", one.at), row("a", one.at, is_up=False, **off)])
    assert len(one.opened) == opened


def test_a_withdrawn_entry_of_a_recovered_row_opens_nothing() -> None:
    """Another process saw the return first, and removed the acknowledgement from the file."""
    one = night("a").hold(20, "a").ack("a").hold(10, "a").decide({key_of("a"): None}).hold(5, "a").hold(70)
    assert one.sizes == ([1], [1])
    assert one.resolved[0].ended_by is None


def restarted(one: Night, seconds: float) -> Night:
    """Return a process that starts later with the files of another, the acknowledgements' file too."""
    other = one.restarted(seconds)
    monitor, _ = other.monitor.with_stored_acks({**one.monitor.ended_acks, **one.monitor.acks}, other.clocks)
    other.monitor = monitor.with_missed_ends(other.clocks)
    return other


def test_an_unseen_end_opens_a_new_incident_in_the_next_run_and_no_other_later() -> None:
    before = night("a", "b").hold(20, "a").ack("a", lasts=600).hold(300, "a")
    after = restarted(before, 1_000).hold(70, "a")
    assert after.sizes == ([1], [1])
    assert after.resolved[0].ended_by == "acknowledgement ended"
    assert restarted(after, 60).hold(300, "a").sizes == ([], [])


def test_a_seen_end_is_not_seen_again_by_the_next_run() -> None:
    one = night("a", "b", policies=soon(alert_after=timedelta(minutes=4)))
    assert one.hold(300, "a").ack("a", lasts=60).hold(70, "a").sizes == ([1], [1])
    assert restarted(one, 10).hold(120, "a").sizes == ([1], [])


@pytest.mark.parametrize(("up", "holds"), [(59.999, True), (60.0, False)])
def test_an_acknowledgement_outlasts_a_return_of_under_a_minute(up: float, *, holds: bool) -> None:
    one = night("a", "b").poll("a").ack("a").hold(60)
    one.later(up - 55)
    seen_at = one.at - 1_000
    for _ in range(800):  # over an hour, after which no change of the row is remembered
        one.show([row("a", one.at, is_up=False, lastSeenAt=seen_at), row("b", one.at)]).later(5)
    assert one.sizes == (([], []) if holds else ([1], []))
    assert (key_of("a") in one.monitor.acks) is holds
    assert [ack.sign_at for ack in one.monitor.acks.values()] == ([seen_at] if holds else [])


def test_a_machine_back_for_a_minute_needs_a_new_acknowledgement() -> None:
    one = night("a", "b").hold(20, "a").ack("a").hold(60)
    assert one.monitor.acks
    assert not one.poll().monitor.acks


@pytest.mark.parametrize("skew_ms", [-600_000, 600_000])
def test_a_wrong_clock_of_this_machine_repeats_no_end(skew_ms: float) -> None:
    one = night("a", "b").hold(20, "a").ack("a", lasts=60).hold(80, "a")
    assert one.sizes == ([1, 1], [1])
    assert one.monitor.with_missed_ends(reading(one.at, skew_ms)) is one.monitor


def test_two_processes_give_the_new_incident_one_id() -> None:
    mine, other = (night("a").hold(20, "a").ack("a") for _ in range(2))
    mine.end_ack("a").hold(70, "a")
    other.hold(5, "a").decide(mine.monitor.ended_acks).hold(65, "a")
    assert mine.opened[-1].id == other.opened[-1].id


def test_the_begin_and_the_end_of_acknowledgements_are_events() -> None:
    one = night("a", "b", "c").poll("a", "b").ack("a", "b", lasts=600, by="ann").end_ack("a").wait(601)
    events = [event for event in one.monitor.event_log if event.kind in {Kind.ACKNOWLEDGED, Kind.ACK_ENDED}]
    assert [(event.kind, len(event.members), event.name, event.reason) for event in events] == [
        (Kind.ACKNOWLEDGED, 2, None, "by ann for 10m: on it"),
        (Kind.ACK_ENDED, 0, "a", "by ann: on it"),
        (Kind.ACK_ENDED, 0, "b", "by ann: on it"),
    ]


@pytest.mark.parametrize(("off", "ends"), [("a", 1), ("", 0)])
def test_an_acknowledgement_of_a_serving_host_is_an_event_and_so_is_the_end_for_a_row_still_off(
    off: str, ends: int
) -> None:
    one = night("a").poll(*off)
    plain = one.monitor.fleet.by_profile[NO_PROFILE]
    (row,) = plain.environments.values()
    ack: JsonValue = {"by": "ann", "at": NOW, "note": "on it"}
    marked = replace(row, environment=replace(row.environment, unknown={"envwatch": {"ack": ack}}))
    acked = replace(plain, environments={row.environment.id: marked})
    _, begun = one.monitor.with_shared_acks(plain, acked, one.clocks)
    _, ended = one.monitor.with_shared_acks(acked, plain, one.clocks)
    assert [(event.kind, event.name) for event in begun] == [(Kind.ACKNOWLEDGED, "a")]
    assert [event.kind for event in ended] == [Kind.ACK_ENDED] * ends
    assert one.monitor.with_shared_acks(acked, acked, one.clocks) == (one.monitor, ())


def test_a_waiting_loss_of_another_row_outlasts_the_end_of_an_acknowledgement() -> None:
    one = night("a", "b").hold(15, "a").ack("a").poll("a", "b").end_ack("a").hold(65, "a", "b")
    assert {name for names in one.lost()[1:] for name in names} == {"a", "b"}


# The format

IDS = st.text(min_size=1).map(clean)
NOTES = (st.text() | st.sampled_from(WEAPONS)).map(clean_note)


INSTANTS = st.floats(-1e15, 1e15)


SERVERS = [EMPTY, clean("letta.example"), clean("127.0.0.1:8283/prod")]
KEYS = st.tuples(st.sampled_from(SERVERS), IDS)


@given(st.dictionaries(KEYS, st.builds(Ack, INSTANTS, NOTES, st.none() | INSTANTS)))
def test_written_acknowledgements_read_the_same(acks: dict[ServerKey, Ack]) -> None:
    assert acks_of(json.loads(json.dumps(entries_of(acks)))) == acks


OWN = {"server": "", "id": "env-1"}


def test_the_form_is_plain() -> None:
    assert entries_of({KEY: Ack(123.0, clean("disk full"))}) == {"env-1": OWN | {"at": 123.0, "note": "disk full"}}
    known = {KEY: Ack(123.0, clean(""), 5.0)}
    assert entries_of(known) == {"env-1": OWN | {"at": 123.0, "sign_at": 5.0}}


@pytest.mark.parametrize("name", ["sign_at", "until"])
@pytest.mark.parametrize("value", [True, "5", [], float("nan"), float("-inf"), 10**400, 1e16])
def test_an_entry_with_a_damaged_time_is_dropped_because_it_might_never_end(name: str, value: object) -> None:
    entry = OWN | {"at": NOW, "note": "known"}
    assert acks_of({"env-1": entry | {name: None}}) == ACKS
    assert acks_of({"env-1": entry | {name: value}}) == {}


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        5,
        "known",
        [],
        {},
        {"note": "known"},
        {"at": None, "note": "known"},
        {"at": "5", "note": "known"},
        {"at": True, "note": "known"},
        {"at": float("nan"), "note": "known"},
        {"at": float("inf"), "note": "known"},
        {"at": 10**400, "note": "known"},
        {"at": 5, "note": None},
        {"at": 5, "note": ["known"]},
    ],
)
def test_a_damaged_entry_is_dropped_alone_while_a_note_may_be_missing_and_a_field_unknown(damaged: object) -> None:
    entry = OWN | damaged if isinstance(damaged, dict) else damaged
    assert acks_of({"env-0": entry, "env-1": OWN | {"at": NOW, "note": "known"}, "env-2": entry}) == ACKS
    assert acks_of({"env-0": entry, "env-1": OWN | {"at": 5, "mood": "hiro"}}) == {KEY: Ack(5.0, EMPTY)}


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["at", "note", "server", "id"]), inner),
    max_leaves=4,
)
TEXTS = st.text() | st.sampled_from(WEAPONS)
ENTRIES = (
    JSON
    | st.fixed_dictionaries({"at": JSON, "note": JSON, "server": JSON, "id": JSON})
    | st.fixed_dictionaries({"at": st.floats(), **dict.fromkeys(("note", "server", "id"), TEXTS)})
)


@given(st.dictionaries(st.text() | st.sampled_from(WEAPONS), ENTRIES, max_size=4))
def test_any_file_gives_only_clean_text_of_bounded_length(content: dict[str, Any]) -> None:
    for (server, id_), ack in acks_of(content).items():
        assert (server, id_, ack.note) == (clean(server), clean(id_), clean(ack.note, LONGEST_NOTE))


@pytest.mark.parametrize("weapon", WEAPONS)
def test_hostile_text_in_a_file_is_cleaned_by_the_reader(weapon: str) -> None:
    (((server, id_), ack),) = acks_of({weapon: {"at": 5, "note": weapon, "server": weapon, "id": weapon}}).items()
    assert (server, id_, ack.note) == (clean(weapon), clean(weapon), clean(weapon, LONGEST_NOTE))


def test_the_newest_of_two_entries_with_one_cleaned_id_counts() -> None:
    new, old = ({"at": at, "note": note, "server": ""} for at, note in ((5, "new"), (4, "old")))
    twice = {"one": new | {"id": "env-\x1b"}, "two": old | {"id": "env-\\x1b"}}
    for content in (twice, dict(reversed(twice.items()))):
        assert acks_of(content) == {key_of("env-\\x1b"): Ack(5.0, clean("new"))}


@pytest.mark.parametrize(
    ("typed", "note"),
    [
        ("", ""),
        ("  disk full, T-17 \n", "disk full, T-17"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_a_typed_note_is_cleaned_and_of_bounded_length(typed: str, note: str) -> None:
    assert clean_note(typed) == note


# A viewer's acknowledgement at a serving host

HOUR = 3_600_000.0
HOST = clean("ops-1")
UUID, OTHER = clean("0f0e0d0c-0b0a-4908-8706-050403020100"), clean("1f0e0d0c-0b0a-4908-8706-050403020100")
SIGN = NOW - 300_000.0
NEW = Ack(NOW, clean("disk swap"), by=clean("ann"), until=NOW + HOUR, uuid=UUID, address=clean("192.0.2.7"))
LOST = tracked(connectionId=None, lastHeartbeat=SIGN - 5_000, lastSeenAt=SIGN)
ROWS = {
    "online": tracked(),
    "offline": LOST,
    "silent": tracked(lastHeartbeat=SIGN, lastSeenAt=SIGN),
    "late": LATE,
    "flapping": replace(tracked(), is_flapping=True),
    "gone": replace(LOST, verdict=GONE),
    "replaced": replace(LOST, replaced_by=clean("env-2")),
    "missing": TrackedEnvironment(environment=Environment.unlisted(ID, clean("db-1")), verdict=NEVER_LISTED),
}


def ask(
    row: TrackedEnvironment | None, sign_at: float | None = SIGN, known: Ack | None = None, new: Ack = NEW
) -> tuple[Acks, AckedRow]:
    profile_state = ProfileState(environments={} if row is None else {ID: row})
    acks = {} if known is None else {key_of(ID): known}
    made, (answer,) = answered([AckedLoss(ID, sign_at)], new, acks, profile_state, HOST)
    return made, answer


@pytest.mark.parametrize(
    ("name", "asked", "result"),
    [
        ("offline", SIGN - 1_000, AckResult.ACKED),
        ("offline", SIGN - 1_001, AckResult.OTHER_LOSS),
        ("offline", SIGN + HOUR, AckResult.ACKED),
        ("offline", None, AckResult.OTHER_LOSS),
        ("silent", SIGN - 500, AckResult.ACKED),
        ("late", NOW, AckResult.RECOVERED),
        ("gone", SIGN - 500, AckResult.ACKED),
        ("missing", None, AckResult.ACKED),  # never gave a sign of life
        ("missing", SIGN, AckResult.ACKED),
        ("online", SIGN, AckResult.RECOVERED),
        ("replaced", SIGN, AckResult.RECOVERED),
        ("unknown", SIGN, AckResult.UNKNOWN),
    ],
)
def test_a_request_covers_a_loss_without_a_newer_sign_of_life_than_the_sender_knows(
    name: str, asked: float | None, result: AckResult
) -> None:
    made, answer = ask(ROWS.get(name), asked)
    if result is AckResult.ACKED:
        assert made == {key_of(ID): replace(NEW, sign_at=SIGN if name != "missing" else -float("inf"))}
        assert answer == AckedRow(ID, result, clean("ann"), NOW)
    else:
        assert (made, answer) == ({}, AckedRow(ID, result))


def test_a_flapping_row_gives_signs_of_life_all_the_time() -> None:
    assert ask(ROWS["flapping"], SIGN - HOUR)[1].result is AckResult.ACKED


@pytest.mark.parametrize(
    ("known", "by"),
    [
        (Ack(NOW - 60_000, EMPTY, by=clean("ben"), uuid=OTHER), "ben"),
        (Ack(NOW - 60_000, EMPTY, until=NOW + 1, uuid=OTHER), "ops-1"),
        (Ack(NOW - 60_000, EMPTY), "ops-1"),
    ],
)
def test_of_two_people_the_first_stays_and_the_second_reads_who(known: Ack, by: str) -> None:
    assert ask(LOST, SIGN - HOUR, known) == ({}, AckedRow(ID, AckResult.ALREADY, clean(by), NOW - 60_000))


def test_a_row_whose_acknowledgement_has_ended_is_acknowledged_again() -> None:
    ended = Ack(NOW - HOUR, EMPTY, by=clean("ben"), until=NOW, uuid=OTHER)
    assert ask(LOST, known=ended) == (
        {key_of(ID): replace(NEW, sign_at=SIGN)},
        AckedRow(ID, AckResult.ACKED, clean("ann"), NOW),
    )


@pytest.mark.parametrize("name", ["offline", "online", None])
@pytest.mark.parametrize("until", [None, NOW - 1, NOW + 1])
def test_a_late_repetition_has_the_answer_of_the_first_and_revives_nothing(
    name: str | None, until: float | None
) -> None:
    known = replace(NEW, at=NOW - HOUR, until=until)
    answer = AckedRow(ID, AckResult.ACKED, clean("ann"), NOW - HOUR)
    assert ask(None if name is None else ROWS[name], SIGN - HOUR, known) == ({}, answer)


@pytest.mark.parametrize(
    ("changes", "is_other"),
    [
        ({}, False),
        ({"at": NOW - HOUR, "until": NOW + 999}, False),
        ({"at": NOW - HOUR, "until": NOW + 1_000}, True),
        ({"until": None}, True),
        ({"at": NOW - HOUR / 2, "until": NOW}, False),
        ({"at": NOW - HOUR / 2, "until": NOW + 1}, True),
        ({"note": clean("other")}, True),
        ({"at": NOW - HOUR, "until": NOW - 60_000, "note": clean("other")}, True),
    ],
)
def test_a_uuid_stays_with_its_note_and_duration(changes: dict[str, object], *, is_other: bool) -> None:
    assert contradicts(replace(NEW, **changes), NEW) is is_other  # type: ignore[arg-type]  # fields of `Ack`


def test_without_an_end_a_duration_is_another_request() -> None:
    lasting = replace(NEW, until=None)
    assert not contradicts(replace(lasting, at=NOW - HOUR), lasting)
    assert contradicts(NEW, lasting)


def test_the_rows_of_a_uuid_are_those_of_one_server() -> None:
    one, other = clean("one.example"), clean("other.example")
    acks = {(one, ID): NEW, (other, ID): NEW, (one, clean("env-2")): replace(NEW, uuid=OTHER)}
    assert acks_of_uuid(acks, one, UUID) == {(one, ID): NEW}


KNOWN = st.none() | st.builds(
    Ack,
    st.floats(NOW - HOUR, NOW),
    st.just(EMPTY),
    by=st.sampled_from([EMPTY, clean("ben")]),
    until=st.none() | st.floats(NOW - HOUR, NOW + HOUR),
    uuid=st.sampled_from([UUID, OTHER, EMPTY]),
)
ASKED = tuple(clean(f"env-{number}") for number in range(6))


@given(
    rows=st.dictionaries(st.sampled_from(ASKED), st.sampled_from([*ROWS.values()])),
    acks=st.dictionaries(st.sampled_from(ASKED), KNOWN),
    signs=st.dictionaries(st.sampled_from(ASKED), st.none() | st.floats(SIGN - HOUR, SIGN + HOUR), min_size=1),
)
def test_each_row_has_one_answer_and_only_acknowledged_rows_change(
    rows: dict[str, TrackedEnvironment], acks: dict[str, Ack | None], signs: dict[str, float | None]
) -> None:
    profile_state = ProfileState(environments={clean(id_): row for id_, row in rows.items()})
    known = {key_of(id_): ack for id_, ack in acks.items() if ack is not None}
    losses = [AckedLoss(clean(id_), sign) for id_, sign in signs.items()]

    def asked(new: Ack, before: Acks) -> tuple[Acks, AckAnswer]:
        return answered(losses, new, before, profile_state, HOST)

    made, answer = asked(NEW, known)
    assert [row.id for row in answer] == [loss.id for loss in losses]
    assert {id_ for _, id_ in made} <= {row.id for row in answer if row.result is AckResult.ACKED}
    assert all(known[key].until is not None and known[key].uuid != UUID for key in made.keys() & known.keys())
    assert all(bool(row.by) is (row.result in {AckResult.ACKED, AckResult.ALREADY}) for row in answer)
    after = with_changes(known, made)
    again, repeated = asked(replace(NEW, at=NOW + 1), after)
    assert (again, acked_in(repeated)) == ({}, acked_in(answer))
    second, _ = asked(replace(NEW, uuid=OTHER, by=clean("cal")), after)
    assert not second.keys() & made.keys()


def acked_in(answer: Sequence[AckedRow]) -> list[AckedRow]:
    return [row for row in answer if row.result is AckResult.ACKED]
