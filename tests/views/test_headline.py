"""The choice of the event for the news line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.builders import NOW
from support.tracked_environments import tracked

from envwatch.fleet.events import NOT_RUNNING, Event, EventLog, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.views.events.event_text import event_text
from envwatch.views.events.headline import headline, merged, returned_since, same_environment


def event(kind: Kind, seconds: float = 0, id_: str = "env-1", *, of: Kind | None = None, count: int = 0) -> Event:
    members = tuple(event(of, seconds, f"env-{n}") for n in range(count)) if of is not None else ()
    return Event(kind=kind, at=ServerMs(NOW + seconds * 1000), id=None if of else clean(id_), of=of, members=members)


LOST = event(Kind.TOGETHER, of=Kind.OFFLINE, count=3)


def chosen(*event_log: Event, after: float = 10) -> Event | None:
    return headline(event_log, lambda _: NOW + after * 1000)


def test_without_events_there_is_no_headline() -> None:
    assert chosen() is None


def test_the_newest_of_minor_events_is_chosen() -> None:
    first, second = event(Kind.MODE), event(Kind.RECONNECTED, 5)
    assert chosen(first, second) is second


def test_of_minor_events_of_one_listing_the_one_of_most_environments_is_chosen() -> None:
    many, one = event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=3), event(Kind.RETURNED, 5, "env-9")
    assert chosen(many, one) is chosen(one, many) is many
    assert chosen(many, replace(one, at=ServerMs(NOW + 6_000))).kind is Kind.RETURNED  # type: ignore[union-attr]
    assert chosen(many, replace(one, profile=clean("other"))).kind is Kind.RETURNED  # type: ignore[union-attr]
    assert chosen(many, event(Kind.NOTICE, 7)) is many


@pytest.mark.parametrize("small", [Kind.MODE, Kind.VERSION, Kind.RECONNECTED, Kind.APPEARED, Kind.FLAPPING])
def test_a_loss_outranks_minor_events_after_it(small: Kind) -> None:
    fell = event(Kind.OFFLINE)
    assert chosen(fell, event(small, 5, "env-9")) is fell


@pytest.mark.parametrize(("seconds", "stands"), [(59.999, True), (60, False)])
def test_a_loss_stays_for_a_minute(seconds: float, *, stands: bool) -> None:
    later = event(Kind.MODE, 5, "env-9")
    assert chosen(LOST, later, after=seconds) is (LOST if stands else later)


def test_an_old_loss_stays_while_nothing_else_happens() -> None:
    assert chosen(LOST, after=9_000) is LOST


@pytest.mark.parametrize(
    "larger", [LOST, event(Kind.WHILE_BLIND), event(Kind.STALLED), event(Kind.TOGETHER, of=Kind.GONE, count=3)]
)
def test_the_newest_loss_is_chosen_however_small(larger: Event) -> None:
    newer = event(Kind.OFFLINE, 5, "env-9")
    assert chosen(larger, newer) is newer
    assert chosen(newer, replace(larger, at=ServerMs(NOW + 6_000))) is not newer


def test_what_changed_since_the_last_run_stands_for_a_minute_but_before_no_loss_after_it() -> None:
    since_last_run = replace(event(Kind.WHILE_BLIND), id=None, reason=NOT_RUNNING, members=LOST.members)
    assert chosen(since_last_run, event(Kind.RENAMED, 5, "env-9")) is since_last_run
    assert chosen(since_last_run, fell := event(Kind.OFFLINE, 5, "env-9")) is fell
    before = event(Kind.OFFLINE, -5, "env-9")
    assert chosen(before, since_last_run) is before
    assert chosen(before, whole := replace(since_last_run, reason=None)) is whole
    assert chosen(since_last_run, renamed := event(Kind.RENAMED, 5, "env-9"), after=60) is renamed


def test_the_newer_of_two_equally_severe_events_is_chosen() -> None:
    first, second = event(Kind.OFFLINE), event(Kind.GONE, 5, "env-9")
    assert chosen(first, second) is second
    assert chosen(event(Kind.STALLED), resumed := event(Kind.RESUMED, 5)) is resumed


@pytest.mark.parametrize(
    ("begin", "end"),
    [(Kind.STALLED, Kind.RESUMED), (Kind.BLIND, Kind.VISIBLE), (Kind.KEY_REFUSED, Kind.KEY_ACCEPTED)],
)
def test_the_end_of_a_period_ends_its_rank_and_gives_way_to_any_event(begin: Kind, end: Kind) -> None:
    over = (LOST, event(begin, 1), event(end, 2))
    assert chosen(*over) is LOST
    assert chosen(*over[1:]) is over[2]
    assert chosen(*over[1:], back := event(Kind.ONLINE, 3, "env-9")) is back
    assert chosen(*over, again := event(begin, 3)) is again
    assert chosen(event(begin, 1), replace(event(end, 2), profile=clean("other"))).kind is begin  # type: ignore[union-attr]


def test_what_has_come_back_of_a_loss_is_counted_unless_it_is_lost_again() -> None:
    back = event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=2)
    assert [returned_since(LOST, log) for log in ((LOST,), (LOST, back))] == [0, 2]
    assert returned_since(LOST, (LOST, back, event(Kind.OFFLINE, 6, "env-1"))) == 1
    assert returned_since(event(Kind.OFFLINE), (event(Kind.ONLINE, -5), event(Kind.ONLINE, 0, "env-9"))) == 0
    assert returned_since(LOST, (LOST, replace(event(Kind.ONLINE, 5, "env-1"), profile=clean("other")))) == 0
    assert returned_since(event(Kind.BLIND), (event(Kind.ONLINE, 5),)) == 0


def test_a_change_to_unrestricted_is_as_severe_as_an_earlier_loss_and_the_way_back_is_minor() -> None:
    fell = event(Kind.OFFLINE)
    drift = replace(event(Kind.MODE, 5, "env-9"), before=clean("standard"), after=clean("unrestricted"))
    assert chosen(fell, drift) is drift
    assert chosen(fell, replace(drift, before=drift.after, after=drift.before)) is fell
    lost = event(Kind.OFFLINE, 5)
    assert chosen(lost, drift) is chosen(drift, lost) is lost


def test_a_lost_row_that_is_gone_is_no_newer_loss() -> None:
    gone = replace(event(Kind.GONE, 5), before=clean("offline"))
    assert chosen(LOST, gone) is LOST
    assert chosen(gone, event(Kind.RECONNECTED, 6, "env-8")) is gone
    assert chosen(LOST, newer := replace(gone, before=clean("online"))) is newer


def test_a_more_severe_event_is_chosen_at_once() -> None:
    assert chosen(event(Kind.OFFLINE, -5), LOST) is LOST


def test_a_loss_that_has_come_back_is_no_longer_severe() -> None:
    back = event(Kind.ONLINE, 5)
    assert chosen(event(Kind.OFFLINE), back) is back
    assert chosen(LOST, returned := event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=3)) is returned


def test_a_group_that_has_come_back_in_part_stays() -> None:
    assert chosen(LOST, event(Kind.TOGETHER, 5, of=Kind.ONLINE, count=2)) is LOST


def test_an_environment_lost_again_after_its_return_is_chosen() -> None:
    again = event(Kind.OFFLINE, 8)
    assert chosen(event(Kind.OFFLINE), event(Kind.ONLINE, 5), again) is again


def test_changes_of_one_poll_become_one_sentence_and_the_number_of_the_others() -> None:
    first, second, mode = event(Kind.OFFLINE), event(Kind.OFFLINE, 0, "env-2"), event(Kind.MODE, 0, "env-3")
    log = EventLog().with_events([event(Kind.ONLINE, -5, "env-9")]).with_events([first, second, mode, LOST])
    assert [*log.with_poll_of(first)] == [first, second, mode, LOST]
    group, more = merged(first, log.with_poll_of(first))
    assert ([member.id for member in group.members], more) == (["env-1", "env-2"], 2)
    assert event_text(group) == "2 went offline: env-1, env-2"
    named = replace(group, members=(first, replace(second, name=clean("sandbox-agent-e428e89d-2b14-472f"))))
    assert event_text(named) == "2 went offline: env-1, sandbox-agent-e428e…472f"
    assert merged(mode, log.with_poll_of(mode)) == (mode, 3)
    assert merged(LOST, log.with_poll_of(LOST)) == (LOST, 1)


def test_a_group_is_one_other_change_and_no_other_change_if_all_its_environments_are_named() -> None:
    modes = event(Kind.TOGETHER, of=Kind.MODE, count=3)
    assert merged(LOST, [LOST, modes]) == (LOST, 0)
    assert merged(LOST, [LOST, modes, event(Kind.NOTICE)]) == (LOST, 0)
    assert merged(LOST, [LOST, event(Kind.TOGETHER, of=Kind.MODE, count=4)]) == (LOST, 1)


def test_the_other_changes_of_the_same_environment_in_one_poll_belong_to_its_event() -> None:
    back, version, other = event(Kind.ONLINE), event(Kind.VERSION), event(Kind.VERSION, 0, "env-2")
    assert same_environment(back, [back, version, other, LOST]) == [version]
    fleet_wide = Event(kind=Kind.BLIND, at=ServerMs(NOW))
    assert same_environment(fleet_wide, [version, replace(fleet_wide, kind=Kind.VISIBLE)]) == []


def test_the_polls_of_a_full_log_stay_apart() -> None:
    log, last = EventLog(), event(Kind.MODE, 4, "env-2")
    for n in range(5):
        log = log.with_events([event(Kind.MODE, n, "env-1"), last if n == 4 else event(Kind.MODE, n, "env-2")], most=3)
    assert len(log.with_poll_of(last)) == 2
    assert len(log.with_poll_of(log[0])) == 1


def of_row(kind: Kind, seconds: float, *, is_flapping: bool) -> Event:
    row = tracked()
    state = replace(row.present_state, is_flapping=is_flapping)
    return replace(event(kind, seconds), then=state)


@pytest.mark.parametrize("kind", [Kind.OFFLINE, Kind.ONLINE, Kind.RECONNECTED, Kind.RESTARTED])
@pytest.mark.parametrize("is_flapping", [False, True])
def test_a_change_of_a_row_is_news_unless_the_row_is_known_to_flap(kind: Kind, *, is_flapping: bool) -> None:
    known = of_row(Kind.FLAPPING, 0, is_flapping=True)
    change = of_row(kind, 30, is_flapping=is_flapping)
    assert chosen(known, change, after=31) is (known if is_flapping else change)
    assert chosen(known, change, after=300) is (known if is_flapping else change)


def test_the_return_of_a_row_that_flaps_ends_the_rank_of_the_loss() -> None:
    lost, mode = of_row(Kind.OFFLINE, 0, is_flapping=False), event(Kind.MODE, 4, "env-9")
    assert chosen(lost, mode) is lost
    assert chosen(lost, mode, of_row(Kind.ONLINE, 5, is_flapping=True)) is mode


def test_the_row_of_an_old_name_is_no_loss_next_to_a_loss_of_its_listing() -> None:
    old, lost = event(Kind.OFFLINE, id_="old"), event(Kind.OFFLINE, id_="lost")
    renamed = event(Kind.RENAMED, id_="old")
    assert chosen(old, renamed) is not old
    assert chosen(lost, old, renamed) is lost
    assert merged(lost, [lost, old, renamed]) == (lost, 2)
    assert len(merged(lost, [lost, old])[0].members) == 2
