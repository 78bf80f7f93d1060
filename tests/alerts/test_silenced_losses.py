"""Silenced losses: what is silenced, what counts at the end, power cuts, restarts."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import reading
from support.policies import soon
from support.scripted_watch import SilencedNight, new_monitor, recurring_policies

from envwatch.alerts.incident import ring_text
from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.deliver.message import Context, build_message
from envwatch.fleet.events import Kind
from envwatch.model import limits
from envwatch.model.text import clean
from envwatch.views.events.event_text import event_text
from envwatch.views.table.block import Aside, build_block

if TYPE_CHECKING:
    from collections.abc import Callable


ALL = ("mac-1", "mac-2", "mac-3")


def of_a_person() -> SilencedNight:
    """Return a fleet whose laptops a person silences at 18:00 until 10:00, without a silence that recurs."""
    night = SilencedNight(monitor=new_monitor(policies=soon(zone=UTC)))
    return night.poll("18:00").silence(*ALL, lasts=timedelta(hours=16))


EVERY_KIND = pytest.mark.parametrize("begun", [SilencedNight, of_a_person], ids=["recurring", "of a person"])


def evening(begun: Callable[[], SilencedNight] = SilencedNight) -> SilencedNight:
    """Return a night with two laptops that went off one after the other, and no incident."""
    night = begun().poll("18:00").poll_until("18:05", "mac-1", every=30)
    return night.poll_until("18:10", "mac-1", "mac-2", every=30)


@EVERY_KIND
def test_silenced_rows_raise_nothing_before_the_end_and_are_one_incident_from_the_end_on(
    begun: Callable[[], SilencedNight],
) -> None:
    night = evening(begun)
    assert (night.silenced() - {"mac-3"}, night.alerting(), night.lost()) == ({"mac-1", "mac-2"}, set(), [])
    night.next_day("09:00", *ALL).poll("09:59:59", *ALL)
    assert (night.silenced(), night.alerting(), night.lost()) == ({*ALL}, set(), [])
    night.poll("10:00", *ALL)
    assert (night.silenced(), night.alerting()) == (set(), {*ALL})
    assert night.tick("10:00:09").lost() == []
    assert night.tick("10:00:10").lost() == [{*ALL}]
    (incident,) = night.opened
    assert (incident.began_at, incident.shared, incident.is_mass) == (night.instant("10:00"), None, False)
    assert incident.not_back_text == "not back by 10:00"
    assert ring_text(night.opened) == "3 not back by 10:00: mac-1 and 2 others"
    night.poll_until("10:02")
    assert [each.id for each in night.resolved] == [incident.id]


@EVERY_KIND
def test_the_end_of_a_silence_is_one_event_in_the_log(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun).next_day("10:00:03", "mac-1", "mac-2").poll("10:00:08", "mac-1", "mac-2")
    (event,) = [each for each in night.events if each.kind is Kind.NOT_BACK]
    assert (event.at, len(event.members)) == (night.instant("10:00"), 2)
    assert event_text(event) == "2 not back by 10:00: mac-1, mac-2"
    assert event in night.monitor.event_log
    assert {each.incident for each in event.members} == {event.incident}
    assert night.tick("10:01").opened[0].id == event.incident


@EVERY_KIND
def test_a_return_before_the_end_is_no_loss(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun).next_day("09:00", "mac-2").poll_until("09:02", "mac-2")
    night.poll("10:00", "mac-2").tick("10:01")
    assert night.lost() == [{"mac-2"}]
    assert ring_text(night.opened) == "mac-2 not back by 10:00"


def test_a_loss_before_the_hours_opens_its_incident_within_the_hours() -> None:
    night = SilencedNight().poll("16:00").poll("16:59:55", "mac-1").poll_until("17:00:05", "mac-1")
    assert (night.lost(), night.silenced()) == ([{"mac-1"}], set())


def test_an_incident_open_at_the_begin_of_the_hours_stays_open_until_the_row_is_back() -> None:
    night = SilencedNight().poll("16:00").poll("16:30", "mac-1").poll_until("16:31", "mac-1")
    assert night.lost() == [{"mac-1"}]
    night.poll("18:00", "mac-1")
    assert (night.resolved, night.silenced(), night.alerting()) == ([], set(), {"mac-1"})
    # Lost again within the hours, before the row was up for long enough.
    night.poll("18:10").poll("18:10:05", "mac-1").poll_until("18:12", "mac-1")
    assert (night.resolved, night.silenced(), night.lost()) == ([], set(), [{"mac-1"}])
    night.next_day("10:00", "mac-1").tick("10:01")
    assert (night.resolved, night.lost()) == ([], [{"mac-1"}])
    night.poll("10:10").poll_until("10:11:05")
    assert len(night.resolved) == 1


@EVERY_KIND
def test_an_incident_of_rows_not_back_stays_open_in_the_next_night(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun).next_day("10:00", "mac-1", "mac-2").tick("10:01")
    night.poll("18:00", "mac-1", "mac-2").poll_until("18:01", "mac-1", "mac-2")
    night.next_day("10:00", "mac-1", "mac-2").tick("10:01")
    assert (night.lost(), night.resolved) == ([{"mac-1", "mac-2"}], [])


def test_a_power_cut_has_one_size_in_incident_message_log_and_block() -> None:
    """Silenced rows belong to no incident; the message and the log count these rows apart."""
    servers, laptops = tuple(f"web-{number}" for number in range(4)), ("mac-1", "mac-2")
    night = SilencedNight(names=(*servers, *laptops, "mac-3", "up")).poll("20:00")
    night.silence("web-3")
    cut = (*servers, *laptops)
    night.poll("20:00:05", *cut).poll_until("20:00:20", *cut)
    (incident,) = night.opened
    assert ({loss.name for loss in incident.losses}, incident.silenced) == (set(servers[:3]), 3)
    context = Context(source="https://letta.example", host="letta.example", profile="")
    message = build_message(incident, clean("pager"), context, night.monitor, reading(night.at))
    assert message.summary == "web-0 and 2 others went offline (+3 silenced)"
    assert ring_text(night.opened) == message.summary
    (group,) = [each for each in night.events if each.members]
    assert event_text(group) == "3 went offline together (+3 not paging): web-0, web-1, web-2"
    assert {each.name for each in group.members if each.incident} == set(servers[:3])
    block = build_block(night.monitor, reading(night.at))
    (line,) = block.lines
    assert (line.total, block.asides) == (3, {Aside.SILENCED: 3})
    assert [each.silenced for each in night.restarted().monitor.incidents.open] == [3]


def test_rows_not_back_are_one_incident_without_a_server_lost_at_the_same_time() -> None:
    night = evening().poll("20:00", "mac-1", "mac-2").poll("20:00:05", "mac-1", "mac-2")
    night.poll("20:00:10", *ALL, "web-1").poll_until("20:00:20", *ALL, "web-1")
    assert night.lost() == [{"web-1"}]
    assert (night.silenced(), night.alerting()) == (set(ALL), {"web-1"})
    night.next_day("10:00", *ALL, "web-1").tick("10:01")
    assert night.lost() == [{"web-1"}, set(ALL)]
    assert len({each.id for each in night.opened}) == 2


def test_laptops_off_at_other_moments_are_not_counted_in_the_message() -> None:
    night = SilencedNight().poll("20:00").poll("20:00:05", "mac-1").poll("20:00:10", "mac-1", "mac-2")
    night.poll("20:00:15", *ALL, "web-1").poll_until("20:00:30", *ALL, "web-1")
    # The time from 20:00:05 to 20:00:10 touches the time from 20:00:10 to 20:00:15, the time before does not.
    assert (night.lost(), night.opened[0].silenced) == ([{"web-1"}], 2)
    later = SilencedNight().poll("20:00").poll("20:00:05", "web-1").poll("20:00:10", "web-1", "mac-1")
    later.poll("20:00:15", "web-1", "mac-1", "mac-2").poll_until("20:00:30", "web-1", "mac-1", "mac-2")
    assert (later.lost(), later.opened[0].silenced) == ([{"web-1"}], 1)


def test_a_silenced_loss_of_the_moment_of_one_loss_is_counted_with_all_losses_of_the_incident() -> None:
    night = SilencedNight().poll("19:00").poll("19:00:05", "mac-1").poll("19:00:10", "mac-1", "web-1")
    night.poll("19:00:15", "mac-1", "web-1", "web-2")
    assert [(len(each.losses), each.silenced) for each in night.opened] == [(2, 1)]


@EVERY_KIND
def test_an_acknowledgement_before_the_end_prevents_the_incident(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun)
    night.ack("mac-1")
    night.next_day("10:00", "mac-1", "mac-2").tick("10:01")
    assert night.lost() == [{"mac-2"}]


@EVERY_KIND
def test_an_end_while_envwatch_is_blind_counts_from_the_next_listing_on(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun).next_day("09:50", "mac-1", "mac-2").fail("09:51").fail("10:05").tick("10:06")
    assert night.lost() == []
    night.poll("10:07", "mac-1", "mac-2")
    assert night.lost() == [{"mac-1", "mac-2"}]
    assert night.opened[0].began_at == night.instant("10:00")


def test_the_reason_has_the_time_in_the_zone_of_the_profile() -> None:
    policies = recurring_policies(zone=ZoneInfo("Asia/Tokyo"))  # nine hours ahead
    night = SilencedNight(monitor=new_monitor(policies=policies)).poll("07:59").poll("08:00", "mac-1")
    assert night.silenced() == {"mac-1"}
    night.next_day("01:00", "mac-1").tick("01:01")
    assert night.opened[0].losses[0].reason == "not back by 10:00"


@EVERY_KIND
def test_a_restart_before_the_end_raises_nothing_and_the_end_counts_once(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun).restarted().poll("18:11", "mac-1", "mac-2").poll_until("18:12", "mac-1", "mac-2")
    assert (night.silenced() - {"mac-3"}, night.lost()) == ({"mac-1", "mac-2"}, [])
    night.next_day("10:00", "mac-1", "mac-2").poll("10:01", "mac-1", "mac-2")
    assert night.lost() == [{"mac-1", "mac-2"}]
    ids = {each.id for each in night.opened}
    again = night.restarted().poll("10:02", "mac-1", "mac-2").poll_until("10:03", "mac-1", "mac-2")
    assert again.lost() == []
    assert {each.id for each in again.monitor.incidents.open} == ids
    again.poll("10:04").poll_until("10:05:05")
    assert {each.id for each in again.resolved} == ids


@EVERY_KIND
def test_a_restart_past_the_end_opens_the_incident_of_the_end_once(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun).restarted()
    night.next_day("10:30", "mac-1", "mac-2").poll("10:31", "mac-1", "mac-2")
    assert night.lost() == [{"mac-1", "mac-2"}]
    assert night.opened[0].began_at == night.instant("10:00")
    assert night.opened[0].not_back_text == "not back by 10:00"
    again = night.restarted().poll("10:32", "mac-1", "mac-2").poll("10:33", "mac-1", "mac-2")
    assert again.lost() == []


def test_a_row_lost_in_the_hours_while_envwatch_did_not_run_is_not_back_either() -> None:
    night = SilencedNight().poll("16:00").poll("16:30").restarted()
    night.off_at = {"mac-1": night.instant("18:00"), "web-1": night.instant("18:30")}
    night.next_day("10:30", "mac-1", "web-1").poll("10:31", "mac-1", "web-1")
    assert sorted(night.lost(), key=sorted) == [{"mac-1"}, {"web-1"}]
    assert [each.not_back_text for each in night.opened if "mac-1" in str(each.losses)] == ["not back by 10:00"]


def test_a_row_lost_in_the_hours_before_the_first_listing_must_be_back_at_the_end() -> None:
    night = SilencedNight()
    night.off_at = {"mac-1": night.instant("17:30"), "mac-2": night.instant("16:30")}
    night.poll("20:00", "mac-1", "mac-2").poll_until("20:01", "mac-1", "mac-2")
    assert (night.silenced(), night.lost(), night.events) == ({"mac-1"}, [], [])
    night.next_day("10:00", "mac-1", "mac-2").poll("10:01", "mac-1", "mac-2")
    assert night.lost() == [{"mac-1"}]


minutes = st.integers(0, 24 * 60 - 1)
steps = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 30, 60, 1_800, 7_200, 20_000]), st.frozensets(st.sampled_from(["mac-1", "web-1"]))
    ),
    min_size=2,
    max_size=25,
)


@settings(max_examples=examples(100))
@given(begin=minutes, end=st.integers(1, 24 * 60), night_steps=steps)
def test_no_row_is_silenced_outside_the_hours_and_no_open_incident_ends_because_hours_begin(
    begin: int, end: int, night_steps: list[tuple[int, frozenset[str]]]
) -> None:
    hours = RecurringHours(begin=begin, end=end, days=frozenset({0, 1, 2, 3, 4, 5}))
    one = SilencedNight(("mac-1", "web-1"), new_monitor(policies=recurring_policies(hours)))
    server = SilencedNight(("web-1",), new_monitor())
    elapsed = 0
    for seconds, off in night_steps:
        elapsed += seconds
        days, rest = divmod(elapsed, 86_400)
        time = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
        before = one.monitor.incidents.open
        one.day = server.day = 9 + days
        one.poll(time, *off)
        server.poll(time, *(off & {"web-1"}))
        assert one.silenced() <= (off & {"mac-1"})
        if one.silenced():
            assert hours.span_at(one.at, UTC) is not None
        still_open = {each.id for each in one.monitor.incidents.open}
        for incident in before:
            assert incident.id in still_open or not {id_ for _, id_ in incident.remaining} & off
        # A server is told at least as early as in a fleet without laptops, unless there is a storm.
        are_told = [any("web-1" in lost for lost in each.lost()) for each in (one, server)]
        assert are_told[0] or not are_told[1] or len(one.opened) >= limits.STORM_FROM


def test_a_loss_before_the_hours_found_within_the_hours_is_not_silenced() -> None:
    night = SilencedNight().poll("16:00").fail("16:05").fail("19:00")
    night.off_at = {"mac-1": night.instant("16:30"), "mac-2": night.instant("17:30")}
    night.poll("20:00", "mac-1", "mac-2")
    assert night.row("mac-1").since_at == night.at
    assert night.silenced() == {"mac-2"}


def test_a_row_whose_silence_ends_after_the_hours_is_another_incident() -> None:
    night = evening().next_day("09:00", "mac-1", "mac-2")
    night.silence("mac-2", lasts=timedelta(hours=2))
    night.poll("10:00", "mac-1", "mac-2").tick("10:01").poll("11:00", "mac-1", "mac-2").tick("11:01")
    assert night.lost() == [{"mac-1"}, {"mac-2"}]
    assert [each.not_back_text for each in night.opened] == ["not back by 10:00", "not back by 11:00"]


@pytest.mark.parametrize(("later", "incidents"), [("16:00:01", 1), ("16:00:02", 2)])
def test_rows_of_one_end_are_one_incident_although_each_listing_estimates_the_clock(later: str, incidents: int) -> None:
    night = SilencedNight().poll("15:00")
    night.silence("web-1")
    night.poll(later.replace("16", "15"))
    night.silence("web-2")
    night.poll("15:30", "web-1", "web-2").poll("16:00:02", "web-1", "web-2").poll("16:01", "web-1", "web-2")
    assert len(night.lost()) == incidents


def test_a_row_off_before_its_silence_counts_from_the_end() -> None:
    night = SilencedNight()
    night.off_at = {"web-1": night.instant("11:00"), "web-2": night.instant("11:00")}
    night.poll("12:00", "web-1", "web-2").poll_until("12:01", "web-1", "web-2")
    night.silence("web-1")
    night.poll("13:00:59", "web-1", "web-2")
    assert (night.silenced(), night.lost()) == ({"web-1"}, []), "the first listing is a silent baseline"
    night.tick("13:01:09")
    assert night.lost() == []
    night.tick("13:01:10")
    assert (night.silenced(), night.lost()) == (set(), [{"web-1"}])
    assert night.opened[0].not_back_text == "not back by 13:01"


def test_a_silenced_waiting_loss_counts_from_the_end() -> None:
    night = SilencedNight().poll("12:00").poll("12:00:05", "web-1")
    night.silence("web-1")
    night.poll_until("12:01", "web-1")
    assert night.lost() == []
    night.poll("13:00:05", "web-1").tick("13:00:14")
    assert night.lost() == []
    assert night.tick("13:00:15").opened[0].not_back_text == "not back by 13:00"


def test_a_row_off_for_a_day_before_the_silence_opens_nothing_at_the_end() -> None:
    night = SilencedNight()
    night.off_at = {"web-1": night.instant("12:00") - 86_400_000, "web-2": night.instant("12:01") - 86_400_000}
    night.poll("12:00", "web-1", "web-2")
    night.silence("web-1", "web-2")
    night.poll("12:00:05", "web-1", "web-2").poll("13:01", "web-1", "web-2").poll("13:02", "web-1", "web-2")
    assert night.lost() == [{"web-2"}]


def test_a_row_of_an_open_incident_stays_in_the_incident_and_is_not_told_again_at_the_end() -> None:
    night = SilencedNight().poll("12:00").poll("12:00:05", "web-1").poll_until("12:01", "web-1")
    night.silence("web-1")
    night.poll("12:30", "web-1")
    assert (night.silenced(), night.alerting()) == ({"web-1"}, set())
    night.poll("13:02", "web-1").poll("13:03", "web-1")
    assert (night.lost(), night.resolved, night.alerting()) == ([{"web-1"}], [], {"web-1"})


def test_a_row_silenced_twice_counts_from_the_second_end() -> None:
    night = SilencedNight().poll("12:00")
    night.silence("web-1")
    night.poll("12:30", "web-1").poll("13:00:05", "web-1")
    night.silence("web-1")
    night.poll_until("13:01", "web-1")
    assert night.lost() == []
    night.poll("14:00:05", "web-1").poll("14:00:20", "web-1")
    assert [each.not_back_text for each in night.opened] == ["not back by 14:00"]


@EVERY_KIND
def test_an_end_by_hand_is_the_end(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun).poll("19:00", "mac-1", "mac-2").end("mac-1")
    assert (night.silenced(), night.alerting()) == (set(), {"mac-1", "mac-2"})
    night.poll("19:00:09", "mac-1", "mac-2")
    assert night.lost() == []
    night.poll("19:00:10", "mac-1", "mac-2")
    assert night.lost() == [{"mac-1", "mac-2"}]
    assert night.opened[0].not_back_text == "not back by 19:00"
    night.poll("19:05").poll_until("19:07")
    night.poll("20:00", "mac-3").poll_until("20:00:15", "mac-3")
    assert night.lost()[1:] == [{"mac-3"}], "nothing is silenced after the end by hand"


def test_a_silence_unknown_after_a_restart_counts_from_the_first_look() -> None:
    night = evening(of_a_person).restarted(silences={}).poll("18:11", "mac-1", "mac-2").poll("18:12", "mac-1", "mac-2")
    assert night.lost() == [{"mac-1", "mac-2"}]
    assert night.opened[0].not_back_text == "not back by 18:11"


@EVERY_KIND
def test_a_server_lost_at_the_end_of_the_hours_is_another_incident(begun: Callable[[], SilencedNight]) -> None:
    night = evening(begun).next_day("09:59:58", "mac-1", "mac-2").tick("10:00:01")
    night.poll("10:00:03", "mac-1", "mac-2", "web-1").poll_until("10:00:20", "mac-1", "mac-2", "web-1")
    assert sorted(night.lost(), key=sorted) == [{"mac-1", "mac-2"}, {"web-1"}]
    assert len({each.id for each in night.opened}) == 2
