"""The block: losses in need of a person, grouping into lines, a line's duration, and counts outside the block."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import chain, pairwise
from math import inf
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.block_night import DAY, BlockNight, row
from support.budget import examples
from support.builders import NOW, listed, reading
from support.policies import soon
from support.tracked_environments import ALL, contexts_at

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_old, is_problem
from envwatch.fleet.tracking import EVERYTHING, Matcher
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.state_looks import PRESENCE_STYLES, glyph_of
from envwatch.serve.exposition import exposition, is_seen
from envwatch.views.events.matching import compile_matcher
from envwatch.views.output.check_result import Metric, check_listing
from envwatch.views.output.environment_list import EnvironmentList
from envwatch.views.output.formats import prompt_line, summary_of
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.block import NO_BLOCK, Aside, Block, BlockLine, build_block
from envwatch.views.table.block_text import window_title
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.text import SafeText


HOME, WORK = clean("home"), clean("work")
MINUTE, HOUR = 60.0, 3_600.0


def night(rows: str, **settings: Any) -> BlockNight:
    monitor = Monitor.create({NO_PROFILE: Limits()}, **({"policies": soon()} | settings))
    return BlockNight(monitor).poll(rows, after=0)


def found(lost: Mapping[str, float], **settings: Any) -> BlockNight:
    """Return a monitor after the first listing, with a healthy row and rows last seen some seconds ago."""
    monitor = Monitor.create({NO_PROFILE: Limits()}, **settings)
    return BlockNight(monitor).poll({"up": "+"} | dict.fromkeys(lost, "x"), after=0, lost=lost)


def query(*names: str) -> Matcher:
    return Matcher(clean(" ".join(names)), lambda tracked, _: tracked.environment.label in names)


POLICY = AlertPolicy(
    alert=Matcher(clean("!toy !job"), lambda row, _: row.environment.label not in {"toy", "job"}),
)


def test_the_first_listing_with_a_loss_gives_the_line() -> None:
    assert night("a+ b+").lines == []
    one = night("a+ b+").poll("ax b+")
    assert one.lines == ["off: a NEW"]
    assert one.monitor.incidents.open == ()
    (line,) = one.block.lines
    assert (line.began_at, line.noticed_at) == (one.clocks.wall, one.clocks.wall)
    assert one.block.keys == {(NO_PROFILE, "a")}


def test_losses_together_are_one_line_also_after_the_incident_opens() -> None:
    one = night("a+ b+ c+ d+").poll("ax bx c+ d+")
    (before,) = one.block.lines
    assert one.poll("ax bx cx d+").lines == ["3 off: c a b NEW"]
    assert one.hold(20, "ax bx cx d+").lines == ["3 off: c a b NEW"]
    assert len(one.monitor.incidents.open) == 1
    (line,) = one.block.lines
    assert line.key == before.key
    assert line.noticed_at - line.began_at == 5_000


def test_each_further_member_raises_the_number_of_new_losses() -> None:
    one = night("a+ b+ c+ d+ e+", policies={NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=15))})
    for rows, count in (("ax bx c+ d+ e+", 2), ("ax bx cx d+ e+", 3), ("ax bx cx dx ex", 5)):
        (line,) = one.poll(rows).block.lines
        assert line.fresh_losses(one.clocks.wall) == count
        assert line.noticed_at == one.clocks.wall
    assert one.lines == ["5 off: d e c a b NEW"]
    assert one.ack("a", "c", "d").lines == ["2 off: e b NEW", "3 off: d c a acked"]
    for seconds, count in ((0, 2), (890, 1), (10, 0)):
        line, _ = one.hold(seconds, "ax bx cx dx ex").block.lines
        assert line.fresh_losses(one.clocks.wall) == count


def test_equally_old_lines_keep_their_places_while_the_estimate_of_a_clock_changes() -> None:
    one = BlockNight(Monitor.create({HOME: Limits(), WORK: Limits()}))
    for rows in ("a+ c+", "ax c+"):
        one.poll(rows, profile=HOME)
        one.poll(rows.replace("a", "b"), after=0, profile=WORK)
    lines = one.lines
    assert [line.partition(" ")[2].split()[0] for line in lines] == ["a", "b"]
    ages = [(line.began_at, line.noticed_at) for line in one.block.lines]
    one.now += 5
    at = NOW + one.now * 1000
    late = listed([row("b", "x", at, at - 6_000), row("c", "+", at, at)], at)
    nearer = late.snapshot._replace(clock=(OffsetBounds(-1_200, 0),))
    one.monitor, _ = one.monitor.apply(WORK, late._replace(snapshot=nearer), one.clocks)
    one.look()
    assert one.monitor.fleet.by_profile[WORK].clock.offset < 0
    assert [line.off[0].environment.label for line in one.block.lines] == ["a", "b"]
    assert [(line.began_at, line.noticed_at) for line in one.block.lines] == ages


def test_a_lost_heartbeat_a_flapping_and_a_missing_row_have_lines_and_a_late_row_has_none() -> None:
    assert night("a+ b+").poll("ah b+", after=150).lines == ["off: a NEW"]
    flaps = night("a+ b+")
    for _ in range(6):
        flaps.poll("ax b+", after=30).poll("a+ b+", after=30)
    assert flaps.lines == ["flap: a NEW"]
    assert flaps.block.keys == {(NO_PROFILE, "a")}
    assert (flaps.block.presences[Presence.ONLINE], flaps.asides) == (2, {})
    missing = night("b+", policies={NO_PROFILE: AlertPolicy(expect=(clean("a"),))})
    assert missing.lines == ["off: a NEW"]
    late = night("a~ b+")
    assert (late.lines, late.block.keys, late.asides) == ([], frozenset(), {})
    assert late.block.presences == {Presence.LATE: 1, Presence.ONLINE: 1}


def test_time_alone_changes_the_lines_at_the_first_end_of_a_silence() -> None:
    one = night("a+ b+ c+").poll("ax bx c+").silence("a", seconds=7_200)
    later = replace(one.monitor, silences=one.monitor.silences)
    one = one.silence("b", seconds=3_600)
    both = one.monitor.with_silences({**later.silences, **one.monitor.silences})
    ends = [one.clocks.wall + seconds * 1_000 for seconds in (3_600, 7_200)]
    assert build_block(both, one.clocks).changes_at == ends[0]
    found = [build_block(both, reading(end)).changes_at for end in (ends[0] - 1, ends[0], ends[1])]
    assert found == [ends[0], ends[1], inf]


@pytest.mark.parametrize(("home", "work"), [("az", "b"), ("b", "az")])
def test_equally_old_lines_are_in_the_order_of_the_first_names(home: str, work: str) -> None:
    names = clean("home"), clean("work")
    one = BlockNight(Monitor.create(dict.fromkeys(names, Limits())))
    for profile, lost in zip(names, (home, work), strict=True):
        one.poll(dict.fromkeys(lost, "x"), after=0, profile=profile, lost=dict.fromkeys(lost, 300))
    assert len({line.noticed_at for line in one.block.lines}) == 1
    assert [len(line.members) for line in one.block.lines] == [2, 1]


@pytest.mark.parametrize("skew", [-600_000, 0, 600_000])
def test_the_times_of_a_line_are_by_the_clock_of_this_machine(skew: float) -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    for at, state in ((NOW, "+"), (NOW + 5_000, "x")):
        monitor, _ = monitor.apply(
            NO_PROFILE, listed([row("a", state, at, at - 1_000)], at, skew=skew), reading(at, skew)
        )
    (line,) = build_block(monitor, reading(NOW + 5_000, skew)).lines
    assert (line.began_at, line.noticed_at, line.losses_at) == (at + skew, at + skew, (at + skew,))


def test_no_block_counts_nothing() -> None:
    assert (NO_BLOCK.unknown, NO_BLOCK.never, NO_BLOCK.silenced_up, NO_BLOCK.aside_counts) == (0, 0, 0, [])
    asides = {Aside.OLD: 1, Aside.NOT_PAGING: 1_007}
    assert Block(asides=asides).aside_counts == [(1, "old"), (1_007, "not paging")]
    assert Block(asides=asides, never=1_002).aside_counts == [(1, "old"), (1_007, "not paging (1,002 never)")]
    assert (NO_BLOCK.newest, NO_BLOCK.changes_at) == (None, inf)
    line = BlockLine(("incident", NO_PROFILE, "1"), NO_PROFILE, 1, WallMs(0.0), WallMs(0.0))
    assert (line.acked, line.is_acked, line.is_open, line.fresh_losses(0.0)) == (0, False, False, 0)


def test_rows_found_down_are_one_line_if_their_last_signs_of_life_are_a_minute_apart_at_most() -> None:
    one = found({"a": 1_050, "b": 990, "c": 930, "d": 869.9})
    assert one.lines == ["off: d NEW", "3 off: c b a"]
    began = [one.clocks.wall - line.began_at for line in one.block.lines]
    assert began == [869_900, 1_050_000]
    assert [one.clocks.wall - line.noticed_at for line in one.block.lines] == [869_900, 930_000]
    assert found({"a": 899.9}).lines == ["off: a NEW"]
    assert found({"a": 900}).lines == ["off: a"]


def test_a_line_of_rows_found_down_keeps_its_key_after_its_first_row_is_back() -> None:
    one = found({"a": 100, "b": 70})
    key = one.block.lines[0].key
    assert one.poll("up+ a+ bx").lines == ["1 of 2 off: b NEW"]
    assert one.block.lines[0].key == key
    assert one.poll("up+ a+ b+").lines == ["2 back: a b"]


def test_members_back_again_are_counted_and_stand_in_the_table() -> None:
    names = [f"e{number:02}" for number in range(12)]
    one = night(" ".join(f"{name}+" for name in ("up", *names)))
    for back in (0, 7):
        one.poll({"up": "+"} | {name: "+" if place < back else "x" for place, name in enumerate(names)})
    assert one.lines == ["5 of 12 off: e07 e08 e09 e10 e11 NEW"]
    assert one.block.keys == {(NO_PROFILE, name) for name in names[7:]}
    assert one.block.lines[0].member_keys == {(NO_PROFILE, name) for name in names}
    assert one.block.presences == {Presence.ONLINE: 8, Presence.OFFLINE: 5}


def test_a_block_without_an_earlier_one_counts_the_members_of_an_open_incident_all_the_same() -> None:
    one = night("a+ b+ c+").hold(20, "ax bx c+").hold(30, "a+ bx c+")
    one.block = NO_BLOCK
    assert one.look().lines == ["1 of 2 off: b NEW"]


@pytest.mark.parametrize(("shared", "kept"), [("p-7", "pod p-7"), ("pod-1", None)])
def test_a_line_names_the_value_of_all_its_members_and_of_no_other_row(shared: str, kept: str | None) -> None:
    changes = {name: {"podId": shared} for name in "ab"}
    one = BlockNight(changes=changes).poll("ax bx c+", after=0)
    assert one.block.lines[0].shared == kept
    lost = BlockNight(changes=changes).poll("a+ b+ c+", after=0).poll("ax bx c+")
    assert lost.block.lines[0].shared == kept
    assert lost.hold(100, "ax bx c+").block.lines[0].shared == kept
    assert lost.poll("a+ bx c+").block.lines[0].shared == kept


# The end of a line.


def test_a_line_whose_members_are_back_stays_for_a_minute() -> None:
    one = night("a+ b+").poll("ax b+").poll("a+ b+")
    assert one.lines == ["back: a"]
    assert one.block.newest is None
    assert one.block.keys == {(NO_PROFILE, "a")}
    assert one.block.changes_at == one.clocks.wall + 60_000
    assert one.wait(59.9).lines == ["back: a"]
    assert one.wait(0.1).lines == []
    assert one.block.keys == frozenset()


def test_the_minute_begins_with_the_last_return_and_all_members_are_counted_as_back() -> None:
    one = night("a+ b+ c+").poll("ax bx c+").poll("a+ bx c+").hold(55, "a+ bx c+").poll("a+ b+ c+")
    assert one.lines == ["2 back: a b"]
    assert one.block.keys == frozenset()
    assert one.block.changes_at == one.clocks.wall + 60_000
    assert one.wait(59).lines == ["2 back: a b"]
    assert one.wait(1).lines == []


@pytest.mark.parametrize(("seconds", "is_same"), [(55, True), (70, False)])
def test_a_row_lost_again_within_the_minute_has_the_same_line(seconds: float, *, is_same: bool) -> None:
    one = night("a+ b+").poll("ax b+")
    (before,) = one.block.lines
    one.poll("a+ b+").hold(seconds - 5, "a+ b+").poll("ax b+")
    assert one.lines == ["off: a NEW"]
    assert (one.block.lines[0].key == before.key) is is_same


def test_a_silenced_member_leaves_the_line_and_is_a_loss_of_its_own_at_the_end() -> None:
    late = {NO_PROFILE: AlertPolicy(alert_after=timedelta(hours=1))}
    seen = night("up+ a+ b+", policies=late).poll("up+ ax bx")
    for one in (found({"a": 100, "b": 50}), seen):
        key = one.block.lines[0].key
        assert one.silence("a", seconds=20).lines == ["1 of 2 off: b NEW"]
        assert one.asides == {"silenced": 1}
        assert one.block.changes_at == one.clocks.wall + 20_000
        assert one.poll("up+ ax bx", after=19.9).lines == ["1 of 2 off: b NEW"]
        assert one.wait(0.1).lines == ["off: a NEW", "off: b NEW"]
        assert (one.block.lines[1].key, one.asides) == (key, {})


def test_a_member_with_a_loss_of_its_own_leaves_its_line() -> None:
    """When a silence ends after the incident has opened, the row is news."""
    one = night("a+ b+ c+").poll("ax bx c+").silence("a", seconds=20).hold(15, "ax bx c+")
    assert one.lines == ["1 of 2 off: b NEW"]
    assert sorted(one.hold(10, "ax bx c+").lines) == ["off: a NEW", "off: b NEW"]


# Acknowledgements.


def test_acknowledged_lines_come_last_and_stay() -> None:
    one = night("a+ b+ c+").poll("ax b+ c+").hold(30, "ax b+ c+").poll("ax bx c+").ack("b")
    assert one.lines == ["off: a NEW", "off: b acked"]
    assert one.block.keys == {(NO_PROFILE, "a"), (NO_PROFILE, "b")}
    newest = one.block.newest
    assert newest is one.block.lines[0]
    assert one.ack("a").lines == ["off: b acked", "off: a acked"]
    newest = one.block.newest
    assert newest is None
    assert one.hold(120, "ax bx c+").lines == ["off: b acked", "off: a acked"]
    assert one.poll("a+ bx c+").lines == ["back: a", "off: b acked"]


def test_acknowledged_members_leave_the_line_of_a_loss_that_nobody_acknowledged() -> None:
    one = night("a+ b+ c+ d+").poll("ax bx cx d+")
    (line,) = one.block.lines
    assert one.ack("a", "b", note="fan").lines == ["off: c NEW", "2 off: a b acked"]
    assert one.block.lines[0].key == line.key
    for seconds in (20, 120):
        assert one.hold(seconds, "ax bx cx d+").lines == ["off: c NEW", "2 off: a b acked"]
    (incident,) = one.monitor.incidents.open
    assert incident.keys == {(NO_PROFILE, "c")}
    assert one.poll("ax bx c+ d+").lines == ["back: c", "2 off: a b acked"]


def test_lines_split_and_the_incident_of_a_message_stays_one() -> None:
    one = night("a+ b+ c+ d+").hold(20, "ax bx cx d+")
    (before,) = one.monitor.incidents.open
    assert one.ack("a", "b").lines == ["off: c NEW", "2 off: a b acked"]
    assert one.monitor.incidents.open == (before,)
    assert one.poll("a+ bx cx d+").lines == ["off: c NEW", "1 of 2 off: b acked"], "a member back is counted once"
    assert one.poll("a+ b+ cx d+").lines == ["off: c NEW", "2 back: a b"], "also after the last return"
    assert one.hold(70, "a+ b+ cx d+").lines == ["off: c NEW"]


def test_lines_stay_apart_with_their_notes_and_an_ended_acknowledgement_rejoins_the_news() -> None:
    one = night("a+ b+ c+ d+").poll("ax bx cx d+").ack("a", "b", note="fan")
    assert sorted(one.ack("c").lines) == ["2 off: a b acked", "off: c acked"]
    one = found(dict.fromkeys("abc", 60.0), policies=soon()).ack("a", "b")
    assert one.lines == ["off: c NEW", "2 off: a b acked"]
    one.monitor = one.monitor.with_acks({key: None for key in one.monitor.acks if key[1] == "b"})
    assert one.wait(0).lines == ["2 off: b c NEW", "off: a acked"]


def test_a_loss_within_the_chain_of_an_acknowledged_line_has_a_line_of_its_own() -> None:
    names = "abcde"
    on, off = (" ".join(f"{name}{state}" for name in names) for state in "+x")
    for held in (0, 20):
        later = night(f"{on} f+ g+").poll(f"{off} f+ g+").hold(held, f"{off} f+ g+")
        assert later.ack(*names).lines == ["5 off: a b c d e acked"]
        assert later.poll(f"{off} fx g+").lines == ["off: f NEW", "5 off: a b c d e acked"]
        before = night(f"{on} f+ g+").poll(f"{off} f+ g+").hold(held, f"{off} f+ g+").poll(f"{off} fx g+")
        assert before.ack(*names).lines == ["off: f NEW", "5 off: a b c d e acked"]


def test_the_newest_line_is_the_latest_unacknowledged_loss() -> None:
    """An acknowledged loss makes the line no newer."""
    monitor = Monitor.create({HOME: Limits(), WORK: Limits()})
    one = BlockNight(monitor).poll("a+ b+ x+", after=0, profile=HOME).poll("c+ y+", after=0, profile=WORK)
    one.poll("ax b+ x+", profile=HOME).poll("cx y+", after=3, profile=WORK).poll("ax bx x+", after=2, profile=HOME)
    assert one.lines == ["2 off: b a NEW", "off: c NEW"]
    assert one.ack("b").lines == ["off: c NEW", "off: a NEW", "off: b acked"]
    assert one.block.newest is one.block.lines[0]


# Rows outside the block.


def test_rows_in_need_of_nobody_are_counted_by_their_reasons() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: POLICY})
    changes = {
        name: {"deviceId": "mac", "listenerInstanceId": f"server-{name:0>16}", "firstSeenAt": NOW}
        for name in ("b1", "b2")
    }
    one = BlockNight(monitor, changes=changes)
    down = {"job": "x", "toy": "x", "old": "x", "quiet": "x", "lost": "x", "b1": "x"}
    one.poll(down | {"b2": "+"}, after=0, lost={"old": DAY, "lost": 200}).silence("quiet")
    assert one.lines == ["off: lost NEW"]
    assert one.asides == {"old": 1, "silenced": 1, "not paging": 2, "replaced": 1}
    assert one.block.presences == {Presence.ONLINE: 1, Presence.OFFLINE: 1}
    assert one.block.keys == {(NO_PROFILE, "lost")}


def test_silenced_rows_are_counted_once_up_or_down() -> None:
    one = night("a+ b+")
    for _ in range(6):
        one.poll("ax b+", after=30).poll("a+ b+", after=30)
    one.silence("a")
    assert (one.lines, one.asides, one.block.presences) == ([], {}, {Presence.ONLINE: 2})
    assert one.block.silenced_up == 1
    one.poll("ax b+")
    assert (one.asides, one.block.presences) == ({"silenced": 1}, {Presence.ONLINE: 1})
    assert one.block.silenced_up == 0
    back = night("a+ b+ c+").poll("ax bx c+").poll("a+ bx c+").silence("b")
    assert (back.lines, back.asides) == ([], {"silenced": 1}), "no return"
    one = night("a+ b+ c+ d+ e?").silence("a", "b", "e").poll("a+ b+ c+ dx e?")
    assert one.block.silenced_up == 2
    assert (sum(one.block.presences.values()), one.block.unknown, one.asides) == (4, 1, {})


def test_a_missing_row_needs_a_person_outside_the_query_too() -> None:
    one = night("b+", policies={NO_PROFILE: AlertPolicy(alert=query("b"), expect=(clean("a"),))})
    assert (one.lines, one.asides) == (["off: a NEW"], {})


def test_a_row_found_off_for_a_day_is_old_and_a_noticed_loss_stays_until_acknowledged() -> None:
    one = found({"a": DAY, "b": DAY - 0.1})
    assert (one.lines, one.asides) == (["off: b"], {"old": 1})
    noticed = night("a+ b+").poll("ax b+").hold(120, "ax b+").poll("ax b+", after=DAY)
    assert (noticed.lines, noticed.asides) == (["off: a"], {})
    noticed.ack("a")
    assert (noticed.lines, noticed.asides) == ([], {"old": 1})


def test_a_row_gone_for_15_minutes_stays_until_acknowledged() -> None:
    one = night("a+ b+ c+").poll("b+ c+").poll("b+ c+")
    assert one.lines == ["gone: a NEW"]
    assert one.poll("b+ c+", after=15 * MINUTE).lines == ["gone: a"]
    assert one.ack("a").asides == {"gone": 1}
    acked = night("a+ b+ c+").poll("b+ c+").poll("b+ c+").ack("a")
    assert acked.lines == ["gone: a acked"]
    assert acked.poll("b+ c+", after=15 * MINUTE - 0.1).lines == ["gone: a acked"]
    acked.poll("b+ c+", after=0.1)
    assert (acked.lines, acked.asides) == ([], {"gone": 1})


def test_a_loss_of_an_earlier_run_leaves_once_old() -> None:
    first = night("a+ b+").poll("ax b+").hold(20, "ax b+")
    state = first.monitor.alert_state(NO_PROFILE, first.clocks)
    later = BlockNight(
        Monitor.create({NO_PROFILE: Limits()}, policies=soon()).with_alert_state(NO_PROFILE, state),
        now=first.now,
        seen_at=first.seen_at,
    )
    assert later.poll("ax b+").lines == ["off: a NEW"]
    assert len(later.monitor.incidents.open) == 1
    later.poll("ax b+", after=DAY)
    assert (later.lines, later.asides) == ([], {"old": 1})


def test_rows_without_proof_and_rows_of_a_blind_profile_are_counted_as_unknown_alone() -> None:
    one = night("a+ b+ c+").poll("ax b? c+")
    assert (one.lines, one.block.unknown) == (["off: a NEW"], 1)
    assert one.block.presences == {Presence.ONLINE: 1, Presence.OFFLINE: 1}
    one.fail(after=5 * MINUTE)
    assert (len(one.lines), one.block.unknown, one.asides) == (1, 3, {})
    assert not any(one.block.presences.values())


# Several profiles.


def test_each_profile_has_lines_of_its_own() -> None:
    one = BlockNight(Monitor.create({HOME: Limits(), WORK: Limits()}))
    for profile in (HOME, WORK):
        one.poll("a+ b+", after=0, profile=profile)
    for profile in (WORK, HOME):
        one.poll("ax b+", after=5, profile=profile)
    assert one.lines == ["off: a NEW", "off: a NEW"]
    assert [line.profile for line in one.block.lines] == [HOME, WORK]
    assert len({line.key for line in one.block.lines}) == 2
    found_down = BlockNight(Monitor.create({HOME: Limits(), WORK: Limits()}))
    for profile in (HOME, WORK):
        found_down.poll("ax bx", after=0, profile=profile)
    assert found_down.lines == ["2 off: a b NEW", "2 off: a b NEW"]


# Laws.


NAMES = ("a", "b", "c", "d", "job", "toy")
STATES = st.fixed_dictionaries({name: st.sampled_from("+++~xxxhh-?") for name in NAMES})
PAUSES = st.sampled_from([5.0, 5.0, 5.0, 30.0, 61.0, 130.0, 15 * MINUTE, HOUR, DAY])
SOME = st.frozensets(st.sampled_from(NAMES), max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("poll"), STATES, STATES, PAUSES),
    st.tuples(st.just("poll"), STATES, STATES, st.just(5.0)),
    st.tuples(st.just("fail"), PAUSES),
    st.tuples(st.just("wait"), PAUSES),
    st.tuples(st.just("ack"), SOME),
    st.tuples(st.just("silence"), SOME, PAUSES),
)


class RemindedNight(BlockNight):
    def look(self) -> Self:
        earlier = {line.key: line.member_keys for line in self.block.lines}
        super().look()
        for line in self.block.lines:
            missing = earlier.get(line.key, frozenset()) - line.member_keys
            assert missing <= self.block.homes.keys(), "a member leaves its line for another line only"
        return self


class Life:
    """Two profiles, two rows of one machine, and the same steps in a given order of rows and profiles."""

    def __init__(self, order: Sequence[str], profiles: Sequence[SafeText]) -> None:
        self.order = order
        limits = {profile: Limits() for profile in profiles}
        policy = replace(POLICY, expect=(clean("a"), clean("e")))
        changes = {name: {"deviceId": "machine"} for name in "bc"}
        servers = {profile: clean(f"{profile}.example") for profile in profiles}
        policies = dict.fromkeys(profiles, policy)
        self.night = RemindedNight(Monitor.create(limits, policies=policies, servers=servers), changes=changes)

    def step(self, what: str, *arguments: Any) -> None:
        match what:
            case "poll":
                home, work, pause = arguments
                self.night.now += pause
                for profile, states in ((HOME, home), (WORK, work)):
                    self.night.poll({name: states[name] for name in self.order}, after=0, profile=profile)
            case "fail":
                self.night.fail(after=arguments[0], profile=HOME)
            case "wait":
                self.night.wait(*arguments)
            case "ack":
                self.night.ack(*arguments[0])
            case _:
                self.night.silence(*arguments[0], seconds=arguments[1])


def needs_a_person(one: BlockNight) -> set[EnvironmentKey]:
    """Return the down rows by the rules of a single row, acknowledged or not, and not silenced."""
    monitor, now = one.monitor, one.clocks
    return {
        row.key
        for row in monitor.fleet.environments
        if (row.presence is not Presence.LATE or row.is_flapping)
        and is_problem(row, monitor.fleet.for_environment(row).clock.server_time(now.wall))
        and monitor.judge(now).is_loud(row)
    }


def parts(one: BlockNight) -> tuple[Any, ...]:
    block = one.block
    return block.lines, +Counter(block.presences), +Counter(block.asides), block.unknown, block.keys


@given(st.lists(STEPS, max_size=25), st.permutations(NAMES), st.booleans())
@settings(max_examples=examples(100), deadline=None)
def test_every_row_is_counted_once_and_each_loss_is_in_one_line(
    steps: Sequence[tuple[Any, ...]],
    order: Sequence[str],
    is_reversed: bool,  # noqa: FBT001  drawn
) -> None:
    profiles = (HOME, WORK)
    life, other = Life(NAMES, profiles), Life(order, profiles[::-1] if is_reversed else profiles)
    one = life.night
    for step in steps:
        life.step(*step)
        other.step(*step)
        block, fleet = one.block, one.monitor.fleet
        assert block.presences.total() + block.unknown + block.asides.total() == len(fleet)  # type: ignore[attr-defined]

        off = [tracked.key for line in block.lines for tracked in line.off]
        assert len(off) == len(set(off)), "no row is in two lines"
        assert set(off) >= needs_a_person(one)
        assert all(one.monitor.judge(one.clocks).is_loud(tracked) for line in block.lines for tracked in line.off)
        assert all(fleet.tracked(tracked.key) is tracked for line in block.lines for tracked in line.off)
        assert block.homes.keys() == set(off)
        assert block.keys >= set(off)

        for line in block.lines:
            if line.blindness is not None:
                assert (line.total, line.members) == (0, ()), "a machine is accused"
                continue
            assert bool(line.off) is not bool(line.returned)
            assert line.total == len(line.member_keys) >= len(line.members)
            assert {tracked.key for tracked in line.members} <= line.member_keys
            assert line.acked in {0, len(line.off)}
            assert line.began_at <= line.noticed_at
            assert all(at <= line.noticed_at for at in line.losses_at)
            assert bool(line.losses_at) is line.is_open
            assert [one.monitor.judge(one.clocks).is_acked(tracked) for tracked in line.off] == [line.is_acked] * len(
                line.off
            )
        kinds = [2 if line.is_acked else 0 if line.is_open else 1 for line in block.lines]
        assert kinds == sorted(kinds)
        opened = [(line.blindness is None, -line.noticed_at) for line in block.lines if line.is_open]
        assert opened == sorted(opened), "the blind profiles, then the newest loss"
        assert (block.newest is None) is (not opened)

        for view in (View(), View(sort="name"), View(group="os")):
            table = arrange(contexts_at(one.monitor, one.clocks.wall), view, ALL, in_block=block.keys).rows
            in_table = {tracked.key for tracked in table}
            assert len(table) == len(in_table)
            assert in_table.isdisjoint(block.keys)
            assert in_table | block.keys == {tracked.key for tracked in fleet.environments}
        assert parts(other.night) == parts(one)


def numbers(text: str) -> dict[str, int]:
    """Return the numbers by glyph; `+` for the others that are off."""
    found = re.findall(r"(?<!\S)([○◐●?]|○?\+)(\d+)(?!\S)", text)
    return {"+" if "+" in glyph else glyph: int(number) for glyph, number in found}


def down_in(one: BlockNight, *, is_acked: bool) -> int:
    """Return the number of machines in the block's lines that are known to be down."""
    lines = [line for line in one.block.lines if line.is_acked is is_acked]
    known = {row.key for profile_state in one.monitor.fleet for row in profile_state.known(one.clocks)}
    down = [
        tracked for line in lines for tracked in line.off if tracked.presence not in {Presence.LATE, Presence.ONLINE}
    ]
    return sum(tracked.key in known for tracked in down)


def in_metrics(one: BlockNight) -> dict[str, int]:
    """Return the numbers of the series."""
    text = exposition(one.monitor, {}, one.clocks)[0].decode()
    states = Counter[str]()
    for state, number in re.findall(r'^envwatch_environments{.*state="(.*)"} (.*)$', text, re.MULTILINE):
        states[state] += int(float(number))
    paging = sum(
        int(float(number)) for number in re.findall(r"^envwatch_machines_paging{.*} (.*)$", text, re.MULTILINE)
    )
    off = states["offline"] + states["gone"]
    return {each: states[each] for each in ("online", "late", "unknown")} | {"off": off, "paging": paging}


@given(st.lists(STEPS, max_size=25), st.frozensets(st.sampled_from(NAMES)))
@settings(max_examples=examples(100), deadline=None)
def test_title_status_bar_and_check_have_the_numbers_of_the_dashboard(
    steps: Sequence[tuple[Any, ...]], wanted: frozenset[str]
) -> None:
    life = Life(NAMES, (HOME, WORK))
    one = life.night
    for step in steps:
        life.step(*step)
        block, rows = one.block, [*one.monitor.fleet.environments]
        # The block keeps a loss of this run that is older than a day; check and the series no longer have it.
        moments = one.monitor.fleet.moments(one.clocks.wall)
        aged = sum(is_old(row, moments[row.profile]) for line in block.lines for row in line.off)
        up = {
            glyph_of(each, ascii_only=False): block.presences.get(each, 0) for each in (Presence.LATE, Presence.ONLINE)
        }
        counts = {"○": block.paging, "+": block.off_besides, **up, "?": block.unknown}
        dashboard = {glyph: count for glyph, count in counts.items() if count}
        down = sum(count for each, count in block.presences.items() if each not in {Presence.LATE, Presence.ONLINE})
        assert block.paging == down_in(one, is_acked=False)
        assert down - block.paging == down_in(one, is_acked=True)
        besides = down + block.asides.get(Aside.SILENCED, 0) + block.asides.get(Aside.NOT_PAGING, 0)
        assert block.paging + block.off_besides == besides
        listing = EnvironmentList(rows=[], taken_at=NOW, rejected=0, is_by_server_clock=True, block=block)
        line = prompt_line(listing, label=clean(""), age=timedelta(), encoding="utf-8", ascii_only=False).decode()
        assert {glyph: count for glyph, count in numbers(line).items() if count} == dashboard
        title = window_title(block, 0, clean(""), ascii_only=False)
        assert dashboard.items() >= {glyph: count for glyph, count in numbers(title).items() if count}.items()
        assert dashboard.keys() - numbers(title).keys() <= {"●", "?"}
        assert sum(map(int, re.findall("[0-9]+", summary_of(listing, "").partition(":")[2]))) == len(rows)

        for matches in (EVERYTHING, compile_matcher(f"name:{','.join(sorted(wanted))}") if wanted else EVERYTHING):
            result = check_listing(one.monitor, Metric.PAGING, matches, one.clocks)
            data = {metric.label: metric.value for metric in result.metrics(None, None)}
            found = build_block(one.monitor, one.clocks, counted={row.key for row in rows if matches.matches(row, 0.0)})
            for presence in (Presence.OFFLINE, Presence.LATE, Presence.ONLINE):
                assert data[PRESENCE_STYLES[presence].word] == found.presences.get(presence, 0)
            assert data["unknown"] == found.unknown
            assert data["gone"] == found.presences.get(Presence.GONE, 0) + found.asides.get(Aside.GONE, 0)
            others = [aside for aside in Aside if aside is not Aside.GONE]
            assert [data[each.value.replace(" ", "")] for each in others] == [
                found.asides.get(each, 0) for each in others
            ]
            states = [str(look.word) for look in PRESENCE_STYLES.values()]
            labels = [*states, "unknown", *(each.value.replace(" ", "") for each in others)]
            assert sum(data[label] for label in labels) == result.total
            incidents = sum(count for count, _ in result.block.other_problems)
            accused, paging = result.count - incidents, result.block.paging
            assert 0 <= accused <= paging + result.block.unknown, "check accuses a machine that does not page"
            assert result.total == sum((*found.presences.values(), *found.asides.values(), found.unknown))
            if matches is EVERYTHING:
                parts = (found.presences, found.asides, found.unknown)
                assert parts == (block.presences, block.asides, block.unknown)
                assert (found.paging, found.off_besides) == (block.paging, block.off_besides)
                assert result.block.unknown or paging - aged <= accused + result.waiting <= paging
        if not all(is_seen(each, one.clocks) for each in one.monitor.fleet):
            continue  # a blind profile has no series
        series = in_metrics(one)
        # A loss that can no longer be judged is unknown to people, and still an alert to Prometheus.
        assert block.paging - aged <= series.pop("paging") <= block.paging + block.unknown
        assert series == {
            "online": block.presences.get(Presence.ONLINE, 0),
            "late": block.presences.get(Presence.LATE, 0),
            "off": sum((down, *block.asides.values())),
            "unknown": block.unknown,
        }


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 400), min_size=1), st.data())
@settings(max_examples=examples(100), deadline=None)
def test_rows_found_down_make_chains_with_gaps_of_a_minute_at_most(
    lost: Mapping[str, int], data: st.DataObject
) -> None:
    names = data.draw(st.permutations(sorted(lost)))
    one = found({name: lost[name] for name in names})
    lines = [sorted(lost[tracked.environment.label] for tracked in line.off) for line in one.block.lines]
    assert list(chain(*lines)) == sorted(lost.values())
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        assert all(later - ago <= MINUTE for ago, later in pairwise(line))
        assert after is None or after[0] - line[-1] > MINUTE
