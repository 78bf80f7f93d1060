"""Acknowledged problems: end, and format."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, entries_of, key_of
from support.hostile_fleet import WEAPONS
from support.tracked_environments import tracked

from envwatch.fleet.alerting.acknowledgements import ack_of, acks_of, ended_acks, losses_of, split
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.presence import GONE
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.model.acks import LONGEST_NOTE, Ack, note_of
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import EMPTY, clean

if TYPE_CHECKING:
    from envwatch.fleet.alerting.acknowledgements import Acks, ServerKey
    from envwatch.fleet.tracking import TrackedEnvironment

DAY = 86_400_000
ID = clean("env-1")
KEY = key_of(ID)
ACKS = {KEY: Ack(NOW, clean("known"))}

WELL = tracked()
LATE = tracked(lastHeartbeat=NOW - 45_000)
OFFLINE = tracked(connectionId=None)
FLAPPING = replace(WELL, is_flapping=True)


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
def test_a_problem_is_what_is_offline_late_or_flapping(row: TrackedEnvironment, *, is_problem: bool) -> None:
    assert row.is_unhealthy is is_problem


def test_an_acknowledgement_ends_in_time_and_no_estimate_of_the_clock_revives_it() -> None:
    fleet = Fleet({NO_PROFILE: ProfileState()})
    acks = {KEY: Ack(NOW - DAY, EMPTY, until=NOW), key_of("env-2"): Ack(NOW - DAY, EMPTY)}
    timed = {KEY: acks[KEY]}
    assert split(acks, {}, fleet, WallMs(NOW - 1)) == (acks, {})
    lasting = {key: ack for key, ack in acks.items() if ack.until is None}
    assert split(acks, {}, fleet, WallMs(NOW)) == (lasting, timed)
    assert split(acks, timed, fleet, WallMs(NOW - 500)) == (lasting, timed)
    longer = {KEY: replace(acks[KEY], until=NOW + 1)}
    assert split(longer, timed, fleet, WallMs(NOW)) == (longer, {})


def test_what_is_well_again_has_recovered() -> None:
    assert ended(ACKS, WELL) == {KEY}


@pytest.mark.parametrize("row", [LATE, OFFLINE, FLAPPING])
def test_what_still_is_a_problem_of_whatever_kind_has_not(row: TrackedEnvironment) -> None:
    assert ended(ACKS, row) == frozenset()


@pytest.mark.parametrize(("sign", "came_back"), [(0, False), (1, True)])
@pytest.mark.parametrize("field", ["lastSeenAt", "lastHeartbeat"])
def test_what_is_offline_and_gave_a_sign_since_had_come_back_unseen(
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
def test_no_local_clock_decides_whether_it_had_come_back(skew: float, sign: float, *, came_back: bool) -> None:
    """Last seen three minutes before the acknowledgement; all instants are the platform's."""
    seen_at = NOW - 180_000

    def lost(at: float) -> TrackedEnvironment:
        return tracked(connectionId=None, lastHeartbeat=None, lastSeenAt=at)

    acks = {KEY: ack_of(lost(seen_at), NOW + skew, clean("known"))}
    assert (ended(acks, lost(seen_at + sign)) == {KEY}) is came_back


@pytest.mark.parametrize("seen", [-1_000, 1_000])
def test_a_heartbeat_that_the_platform_takes_away_is_no_sign_of_life(seen: float) -> None:
    lost = tracked(lastHeartbeat=NOW - 130_000, lastSeenAt=NOW - 130_000 + seen)
    acks = {KEY: ack_of(lost, NOW, clean("known"))}
    assert ended(acks, lost) == frozenset()

    cut_off = tracked(connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 130_000 + seen)
    assert ended(acks, cut_off) == frozenset()


def test_what_is_late_and_beat_since_has_not_recovered() -> None:
    late = tracked(lastHeartbeat=NOW - 45_000)
    assert ended({KEY: Ack(NOW - 50_000, clean(""))}, late) == frozenset()


def test_what_is_gone_absent_or_not_known_proves_nothing() -> None:
    assert ended(ACKS, replace(OFFLINE, verdict=GONE, absent=2)) == frozenset()
    assert ended(ACKS, replace(OFFLINE, verdict=GONE)) == frozenset()
    assert ended(ACKS, replace(WELL, absent=1)) == frozenset()
    assert ended(ACKS) == frozenset()


def test_an_environment_without_an_acknowledgement_does_not_count_as_recovered() -> None:
    assert ended({}, WELL) == frozenset()
    assert ended(ACKS, tracked(id="env-2"), OFFLINE) == frozenset()


@pytest.mark.parametrize(
    ("second", "ends"),
    [
        (WELL, True),
        (LATE, False),
        (replace(OFFLINE, verdict=GONE, absent=2), True),
        (replace(OFFLINE, absent=1), True),
    ],
)
def test_under_two_profiles_every_row_that_is_listed_must_be_well(second: TrackedEnvironment, *, ends: bool) -> None:
    rows = [of_profile("a", WELL), of_profile("b", second)]
    for order in (rows, rows[::-1]):
        assert ended(ACKS, *order) == ({KEY} if ends else frozenset())


@pytest.mark.parametrize(
    ("row", "is_lost"),
    [
        (OFFLINE, True),
        (WELL, False),
        (LATE, False),
        (FLAPPING, False),
        (replace(OFFLINE, absent=1), False),
        (replace(OFFLINE, verdict=GONE, absent=2), False),
        (tracked(id="env-2", connectionId=None), False),
    ],
)
def test_what_is_down_when_its_acknowledgement_ends_is_a_loss_that_nobody_knows_of(
    row: TrackedEnvironment, *, is_lost: bool
) -> None:
    losses = losses_of({KEY}, [of_profile("work", row)])
    events = [(loss.kind, loss.profile, loss.id, loss.name, loss.before, loss.after) for loss in losses]
    assert events == [(Kind.OFFLINE, "work", ID, row.environment.name, "online", "offline")] * is_lost


@pytest.mark.parametrize(("since", "at"), [(None, NOW - 12_000), (ServerMs(NOW - 5_000), NOW - 5_000)])
def test_the_loss_of_an_ended_acknowledgement_is_as_old_as_the_row_is_down(since: ServerMs | None, at: float) -> None:
    (loss,) = losses_of({KEY}, [replace(OFFLINE, since_at=since)])
    assert loss.at == at


IDS = st.text(min_size=1).map(clean)
NOTES = (st.text() | st.sampled_from(WEAPONS)).map(note_of)


INSTANTS = st.floats(allow_nan=False, allow_infinity=False)


SERVERS = [EMPTY, clean("letta.example"), clean("127.0.0.1:8283/prod")]
KEYS = st.tuples(st.sampled_from(SERVERS), IDS)


@given(st.dictionaries(KEYS, st.builds(Ack, INSTANTS, NOTES, st.none() | INSTANTS)))
def test_what_is_written_down_reads_the_same(acks: dict[ServerKey, Ack]) -> None:
    assert acks_of(json.loads(json.dumps(entries_of(acks)))) == acks


OWN = {"server": "", "id": "env-1"}


def test_the_form_is_plain() -> None:
    assert entries_of({KEY: Ack(123.0, clean("disk full"))}) == {"env-1": OWN | {"at": 123.0, "note": "disk full"}}
    known = {KEY: Ack(123.0, clean(""), 5.0)}
    assert entries_of(known) == {"env-1": OWN | {"at": 123.0, "note": "", "sign_at": 5.0}}


@pytest.mark.parametrize("sign", [None, True, "5", [], float("nan"), float("-inf"), 10**400])
def test_a_damaged_sign_of_life_leaves_the_rest_of_the_entry(sign: object) -> None:
    assert acks_of({"env-1": OWN | {"at": NOW, "note": "known", "sign_at": sign}}) == ACKS


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
def test_a_damaged_entry_is_dropped_and_no_other_with_it(damaged: object) -> None:
    entry = OWN | damaged if isinstance(damaged, dict) else damaged
    assert acks_of({"env-0": entry, "env-1": OWN | {"at": NOW, "note": "known"}, "env-2": entry}) == ACKS


def test_what_is_not_known_of_an_entry_is_ignored_and_a_note_may_be_missing() -> None:
    assert acks_of({"env-1": OWN | {"at": 5, "mood": "hiro"}}) == {KEY: Ack(5.0, clean(""))}


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
def test_whatever_a_file_holds_only_clean_text_of_bounded_length_comes_out(content: dict[str, Any]) -> None:
    for (server, id_), ack in acks_of(content).items():
        assert (server, id_, ack.note) == (clean(server), clean(id_), clean(ack.note, LONGEST_NOTE))


@pytest.mark.parametrize("weapon", WEAPONS)
def test_hostile_text_in_a_file_is_cleaned_when_it_is_read(weapon: str) -> None:
    (((server, id_), ack),) = acks_of({weapon: {"at": 5, "note": weapon, "server": weapon, "id": weapon}}).items()
    assert (server, id_, ack.note) == (clean(weapon), clean(weapon), clean(weapon, LONGEST_NOTE))


def test_of_two_entries_that_are_one_once_cleaned_the_newest_counts() -> None:
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
    assert note_of(typed) == note
