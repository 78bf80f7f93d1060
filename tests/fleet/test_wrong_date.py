"""A wrong `Date` takes no row offline and hides no stopped machine: believed clocks, and the skew check of each row."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, counts_of, environment, list_of, listed, reading, slept, watched

from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.plausibility import SkewCheck, is_date_wrong
from envwatch.fleet.presence import Presence, Reason
from envwatch.model.clock import MonotonicS, OffsetBounds, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import ListedPage
from envwatch.model.text import clean
from envwatch.views.output.formats import summary_of
from envwatch.views.pane.explanation import trace
from envwatch.views.pane.state_details import proof

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed


STEP = 5_000.0
HOUR = 3_600_000.0
DAY = 24 * HOUR


def rows_at(at: float, up: int = 39, stopped_at: float | None = None) -> list[Environment]:
    """Return 39 machines that beat every 30 s (`env-0` until a moment), 11 asleep for 10 minutes or more, 10
    disconnected.
    """
    missed_beats = [at - (at + number * 6_000) % 30_000 for number in range(up)]
    if stopped_at is not None:
        missed_beats[0] = min(missed_beats[0], stopped_at)
    missed_beats += [NOW - 600_000 - number * 60_000 for number in range(11)]
    left = [environment(f"left-{n}", connectionId=None, connectedAt=None, lastHeartbeat=None) for n in range(10)]
    return [environment(f"env-{number}", lastHeartbeat=beat) for number, beat in enumerate(missed_beats)] + left


def dated(rows: list[Environment], at: float = NOW, *, error: float = 0.0, skew: float = 0.0) -> Listed:
    """Return a listing with `Date` wrong by `error`, on a machine whose clock is wrong by `skew`."""
    outcome = listed(rows, at, skew=skew)
    bounds = OffsetBounds(error - skew - 500, error - skew + 500)
    return outcome._replace(snapshot=outcome.snapshot._replace(clock=(bounds,)))


def presences(profile_state: ProfileState) -> dict[str, Presence]:
    return {id_: tracked.presence for id_, tracked in profile_state.environments.items()}


@pytest.mark.parametrize(
    ("age", "is_wrong"), [(44_999, True), (45_000, False), (0, True), (-30_000, True), (-30_001, False)]
)
def test_the_other_clock_must_make_some_machine_up_to_the_mark(age: float, *, is_wrong: bool) -> None:
    silent = [environment("left", connectionId=None), environment("new", lastHeartbeat=None)]
    old = environment("old", lastHeartbeat=NOW - DAY)
    pages = [ListedPage([environment(lastHeartbeat=NOW - age), old, *silent], WallMs(NOW))]
    assert is_date_wrong(pages, HOUR, 0.0, Limits()) is is_wrong
    assert not is_date_wrong([ListedPage(silent, WallMs(NOW))], HOUR, 0.0, Limits())


@pytest.mark.parametrize(("age", "is_wrong"), [(119_999, False), (120_000, True), (-30_000, False), (-30_001, True)])
def test_the_date_must_make_every_machine_lost_or_of_the_future(age: float, *, is_wrong: bool) -> None:
    beat = NOW - 40_000
    rows = [environment(lastHeartbeat=beat), environment("older", lastHeartbeat=beat - 2 * DAY)]
    assert is_date_wrong([ListedPage(rows, WallMs(NOW))], beat + age - NOW, 0.0, Limits()) is is_wrong


@pytest.mark.parametrize("error", [-DAY, -HOUR, 150_000, HOUR, DAY, 400 * DAY])
def test_a_wrong_date_in_the_first_listing_changes_no_verdict(error: float) -> None:
    rows = rows_at(NOW)
    right, _ = watched([dated(rows)])
    profile_state, _ = watched([dated(rows, error=error)])
    assert presences(profile_state) == presences(right)
    assert profile_state.date_error == error
    assert sum(tracked.clock_suspect for tracked in profile_state.environments.values()) == 50
    assert right.date_error is None


@pytest.mark.parametrize("skew", [-DAY, -HOUR, HOUR, DAY])
def test_a_wrong_clock_of_this_machine_casts_no_doubt_on_a_right_date(skew: float) -> None:
    rows = rows_at(NOW)
    right, _ = watched([dated(rows)])
    profile_state, _ = watched([dated(rows, skew=skew)])
    assert profile_state.environments == right.environments
    assert profile_state.date_error is None


@pytest.mark.parametrize("skew", [-HOUR, 0.0, HOUR])
def test_a_fleet_stale_by_both_clocks_is_offline(skew: float) -> None:
    profile_state, _ = watched([dated(rows_at(NOW, up=0), skew=skew)])
    assert (counts_of(profile_state), profile_state.date_error) == ({Presence.OFFLINE: 21}, None)
    assert not any(tracked.clock_suspect for tracked in profile_state.environments.values())


def test_where_both_clocks_are_wrong_the_date_holds() -> None:
    profile_state, _ = watched([dated(rows_at(NOW), error=HOUR, skew=-HOUR)])
    assert (counts_of(profile_state), profile_state.date_error) == ({Presence.OFFLINE: 60}, None)


def test_a_clock_behind_by_just_the_silence_of_all_is_found_out_within_75_seconds() -> None:
    """The only case in which a correct `Date` looks wrong: rows are doubted, and offline once late."""
    silent, skew = [environment("env-1", lastHeartbeat=NOW - 600_000)], -630_000.0
    before = [dated(silent, NOW + second * 1000, skew=skew) for second in range(0, 75, 5)]
    profile_state, _ = watched(before)
    (tracked,) = profile_state.environments.values()
    assert (tracked.presence, tracked.clock_suspect, profile_state.date_error) == (Presence.ONLINE, True, -skew)
    profile_state, (event,) = watched([dated(silent, NOW + 75_000, skew=skew)], profile_state)
    assert (event.kind, event.reason, profile_state.date_error) == (Kind.OFFLINE, "heartbeat lost (675 s)", None)


@pytest.mark.parametrize("error", [-HOUR, 100_000, 150_000, HOUR, DAY])
@pytest.mark.parametrize("skew", [-HOUR, 0.0, HOUR])
def test_a_wrong_date_takes_nothing_offline_before_any_heartbeat_was_seen_to_advance(error: float, skew: float) -> None:
    """By the clock that explained earlier heartbeats, whatever this machine's clock says."""
    moments = [NOW + number * STEP for number in range(4)]
    profile_state, events = watched(
        dated(rows_at(NOW), at, error=error if number == 1 else 0.0, skew=skew) for number, at in enumerate(moments)
    )
    assert events == []
    assert profile_state.date_error is None
    assert not any(tracked.clock_suspect for tracked in profile_state.environments.values())


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("jump", "is_believed"), [(30_000, True), (30_001, False)])
def test_a_date_jumping_by_more_than_a_beat_waits_for_a_second_listing(
    jump: float, sign: int, *, is_believed: bool
) -> None:
    rows = rows_at(NOW)
    profile_state, _ = watched([dated(rows), dated(rows, NOW + STEP, error=sign * jump)])
    assert (profile_state.date_error, profile_state.clock.offset) == (
        (None, sign * jump) if is_believed else (sign * jump, 0.0)
    )
    again, _ = watched([dated(rows, NOW + 2 * STEP, error=sign * jump)], profile_state)
    assert (again.date_error, again.clock.offset) == (None, sign * jump)
    other, _ = watched([dated(rows, NOW + 2 * STEP, error=sign * (jump + 40_000))], profile_state)
    assert other.date_error == sign * (40_000 if is_believed else jump + 40_000)


@pytest.mark.parametrize("error", [-HOUR, HOUR])
@pytest.mark.parametrize("first_wrong", [0, 1, 10])
def test_a_date_wrong_for_good_hides_no_stopped_machine(error: float, first_wrong: int) -> None:
    stopped_at = NOW + 60_000

    def listings() -> Iterator[Listed]:
        for number in range(60):
            at = NOW + number * STEP
            yield dated(rows_at(at, 12, stopped_at), at, error=error if number >= first_wrong else 0.0)

    profile_state, events = watched(listings())
    assert [(event.kind, event.id) for event in events] == [(Kind.OFFLINE, "env-0")]
    assert profile_state.date_error == error
    assert profile_state.environments[clean("env-0")].reason == Reason.HEARTBEAT_LOST.value


@given(error=st.floats(-DAY, DAY).filter(lambda error: abs(error) >= 150_000), wrong=st.sets(st.integers(0, 20)))
@example(error=-480_001.0, wrong={0})
@example(error=-635_001.0, wrong={0, 17, 18})
@settings(max_examples=examples(30), deadline=None)
def test_no_beating_machine_is_lost_by_any_listings_with_a_wrong_date(error: float, wrong: set[int]) -> None:
    moments = [NOW + number * STEP for number in range(20)]
    rights = [dated(rows_at(at, 12), at) for at in moments]
    wrongs = [dated(rows_at(at, 12), at, error=error if number in wrong else 0.0) for number, at in enumerate(moments)]
    right, _ = watched(rights)
    profile_state, events = watched(wrongs)
    # A `Date` that is behind by a machine's silence makes the silent machine look late.
    beating = {clean(f"env-{number}") for number in range(12)}
    assert [event for event in flatten(events) if event.id in beating] == []
    found, expected = presences(profile_state), presences(right)
    assert {id_: found[id_] for id_ in beating} == {id_: expected[id_] for id_ in beating}
    assert all(found[id_] in (presence, Presence.LATE) for id_, presence in expected.items())


def test_a_wrong_date_is_named_where_a_verdict_is_explained() -> None:
    profile_state, _ = watched([dated(rows_at(NOW), error=HOUR)])
    tracked, asleep = (profile_state.environments[clean(id_)] for id_ in ("env-0", "env-39"))
    assert proof(tracked, profile_state, reading(), UTC).endswith("last heartbeat 08:53:00Z")
    assert (
        proof(asleep, profile_state, reading(), UTC)
        == "connected, but no heartbeat since 08:43:20Z · the limit is 120 s"
    )
    steps = trace(tracked, profile_state, reading())
    assert steps["lastHeartbeat"][0].endswith("20 s old in the newest poll")
    assert steps["clock"][0].startswith("the server's clock (Date) is 1h ahead of this machine's")
    assert steps["clock"][1:] == ("not believed: this machine's clock counts", True)
    assert steps["lastHeartbeat"][1] == "younger than 45 s: beating"
    assert steps["clock check"][1] == "no result before the next heartbeat"


@pytest.mark.parametrize(
    ("error", "warning"),
    [
        (HOUR, "the server's clock (Date) is 1h ahead of this machine's and all heartbeats"),
        (-HOUR, "the server's clock (Date) is 1h behind this machine's and all heartbeats"),
    ],
)
def test_a_listing_names_an_unbelieved_date(error: float, warning: str) -> None:
    listing_output = list_of(dated(rows_at(NOW), error=error))
    assert listing_output.clock_warnings == (
        f"{warning}: machines (clk?) are judged by this machine's clock, losses page",
    )
    assert listing_output.counts() == {"online": 39, "offline": 21}
    assert summary_of(listing_output, "api") == "60 machines at api: 10 off, 0 on, 50 unknown"


@pytest.mark.parametrize("ahead", [6_000.0, 20_000.0, 40_000.0, 130_000.0, HOUR])
def test_after_the_servers_clock_was_ahead_for_ten_seconds_no_row_is_lost_and_all_recover_with_their_next_beat(
    ahead: float,
) -> None:
    """`Date` and the heartbeats of these ten seconds are ahead; a row with such a heartbeat is in doubt."""
    profile_state, story, until = None, list[Event](), 100_000.0 + 10_000
    for number in range(40):
        elapsed = number * STEP
        is_ahead = 100_000 <= elapsed < until
        rows = []
        for machine in range(39):
            beat = elapsed - (elapsed - machine * 769) % 30_000
            rows.append(environment(f"env-{machine}", lastHeartbeat=NOW + beat + ahead * (100_000 <= beat < until)))
        outcome = dated(rows, NOW + elapsed, error=ahead if is_ahead else 0.0)
        profile_state, events = watched([outcome], profile_state)
        story += events
        assert counts_of(profile_state)[Presence.OFFLINE] == 0
        if elapsed >= until + 3 * STEP:  # three polls later
            in_doubt = {id_ for id_, tracked in profile_state.environments.items() if tracked.clock_suspect}
            listed_ahead = {
                row.id for row in rows if row.last_heartbeat_at is not None and row.last_heartbeat_at > NOW + elapsed
            }
            assert in_doubt <= listed_ahead
    assert [event for event in flatten(story) if event.id is not None] == []


# The skew check: no wrong `Date` takes a fleet offline or hides a stopped machine


def beat_of(number: int, at: float) -> float:
    """Return a machine's newest heartbeat: every 30 s, with an offset per machine."""
    return at - (at + number * 6_000) % 30_000


def machines_at(at: float, stopped: Mapping[int, float] | None = None, count: int = 12) -> list[Environment]:
    """Return beating machines; `stopped` has the last moment of some."""
    ends = stopped or {}
    return [
        environment(f"env-{n}", lastHeartbeat=beat_of(n, min(at, ends.get(n, at))), connectedAt=NOW - HOUR)
        for n in range(count)
    ]


def story(
    listings: int, errors: Mapping[int, float], stopped: Mapping[int, float] | None = None
) -> tuple[ProfileState, list[Event]]:
    moments = [(number, NOW + number * STEP) for number in range(listings)]
    return watched(dated(machines_at(at, stopped), at, error=errors.get(number, 0.0)) for number, at in moments)


def kinds_and_ids(events: Iterable[Event]) -> list[tuple[Kind, str | None]]:
    return sorted((leaf.kind, leaf.id) for leaf in flatten(events))


@pytest.mark.parametrize(("age", "is_ruled_out"), [(29_999, True), (30_000, False), (1e12, False)])
def test_a_heartbeat_is_no_younger_than_its_first_listing(age: float, *, is_ruled_out: bool) -> None:
    """The listings prove an age of one minute, and one whole beat is tolerated."""
    skew_check = SkewCheck.for_heartbeat(NOW, MonotonicS(40.0))
    assert skew_check.contradicts(ServerMs(NOW + age), MonotonicS(100.0), 100_000.0) is is_ruled_out


@pytest.mark.parametrize(
    ("age", "elapsed_ms", "is_ruled_out"),
    [
        *((95_000, 100_000.0, False), (95_001, 100_000.0, True)),
        # A monotonic clock may stand still for an hour of sleep.
        *((HOUR, HOUR + 100_000, False), (HOUR, 100_000.0, True)),
    ],
)
def test_a_heartbeat_seen_to_advance_is_no_older_than_the_last_listing_with_the_previous_heartbeat(
    age: float, elapsed_ms: float, *, is_ruled_out: bool
) -> None:
    skew_check = SkewCheck.for_heartbeat(NOW, MonotonicS(40.0), 35_000.0)
    assert skew_check.contradicts(ServerMs(NOW + age), MonotonicS(100.0), elapsed_ms) is is_ruled_out


@pytest.mark.parametrize("error", [-DAY, -HOUR, HOUR, DAY])
def test_one_wrong_date_takes_no_fleet_offline_and_brings_none_back(error: float) -> None:
    profile_state, events = story(13, {12: error})
    assert (events, counts_of(profile_state)[Presence.OFFLINE]) == ([], 0)
    assert all(tracked.clock_suspect for tracked in profile_state.environments.values())
    profile_state, events = watched([dated(machines_at(NOW + 13 * STEP), NOW + 13 * STEP)], profile_state)
    assert events == []
    assert not any(tracked.clock_suspect for tracked in profile_state.environments.values())


@pytest.mark.parametrize("error", [-DAY, -HOUR])
@pytest.mark.parametrize(("seconds", "is_up"), [(115, True), (120, False)])
def test_a_date_wrong_for_good_hides_no_machine_without_a_second_heartbeat(
    error: float, seconds: int, *, is_up: bool
) -> None:
    """A first listing two minutes ago proves an age of two minutes."""
    dead = environment("env-1", lastHeartbeat=NOW - 1_000)
    moments = range(0, seconds + 1, 5)
    profile_state, _ = watched(dated([dead], NOW + second * 1000, error=error if second else 0.0) for second in moments)
    (tracked,) = profile_state.environments.values()
    assert (tracked.verdict.is_up, tracked.clock_suspect) == (is_up, True)


def test_what_was_lost_stays_lost_when_the_clock_turns_back() -> None:
    """The skew check is only ten seconds old, which does not prove a young heartbeat."""
    lost = [environment("env-1", lastHeartbeat=NOW - 1_800_000)]
    _, events = watched(dated(lost, NOW + number * STEP, error=-HOUR if number == 2 else 0.0) for number in range(4))
    assert events == []


def test_a_heartbeat_from_the_future_is_doubted_and_no_longer_believed_than_any_other() -> None:
    row = [environment("env-1", lastHeartbeat=NOW + HOUR)]
    profile_state, events = watched(dated(row, NOW + number * STEP) for number in range(24))
    (tracked,) = profile_state.environments.values()
    assert (tracked.presence, tracked.clock_suspect, events) == (Presence.LATE, True, [])
    _, (event,) = watched([dated(row, NOW + 24 * STEP)], profile_state)
    assert (event.kind, event.reason) == (Kind.OFFLINE, Reason.HEARTBEAT_LOST.value)


def test_waking_without_a_date_on_a_wrong_clock_takes_nothing_offline() -> None:
    skew = HOUR
    moments = [NOW + number * STEP for number in range(12)]
    profile_state, _ = watched(listed(machines_at(at), at, skew=skew) for at in moments)
    woken = NOW + 70_000
    profile_state, events = watched(
        [slept(NOW + 56_000, woken, skew=skew), listed(machines_at(woken), woken, skew=skew, dated=False)],
        profile_state,
    )
    assert (events, counts_of(profile_state)[Presence.OFFLINE]) == ([], 0)


def test_a_row_without_an_entry_in_one_listing_is_still_known_by_its_heartbeat_before() -> None:
    """No answer has a time, the clock is an hour ahead, and a row is absent just at a beat."""

    def rows(number: int) -> list[Environment]:
        every = machines_at(NOW + number * STEP)
        return every[1:] if number == 9 else every

    profile_state, _ = watched(listed(rows(n), NOW + n * STEP, skew=HOUR, dated=False) for n in range(9))
    profile_state, events = watched(
        (listed(rows(n), NOW + n * STEP, skew=HOUR, dated=False) for n in range(9, 20)), profile_state
    )
    assert (events, counts_of(profile_state)[Presence.OFFLINE]) == ([], 0)


def wrong_by(sign: int) -> st.SearchStrategy[float]:
    """An error beyond one beat and one interval, which the skew check can detect."""
    return st.integers(36_000, int(DAY)).map(lambda error: float(sign * error))


@given(
    errors=st.dictionaries(st.integers(7, 50), st.sampled_from([-1, 1]).flatmap(wrong_by), max_size=20),
    stopped=st.dictionaries(st.integers(0, 11), st.integers(36_000, 90_000).map(lambda after: NOW + after), max_size=2),
)
@settings(max_examples=examples(40), deadline=None)
def test_whatever_dates_come_just_the_stopped_machines_are_lost(
    errors: dict[int, float], stopped: dict[int, float]
) -> None:
    profile_state, events = story(54, errors, stopped)
    assert kinds_and_ids(events) == sorted((Kind.OFFLINE, f"env-{n}") for n in stopped)
    assert {tracked.environment.id for tracked in profile_state.environments.values() if not tracked.verdict.is_up} == {
        f"env-{n}" for n in stopped
    }
