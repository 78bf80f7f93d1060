"""The simulated month for measuring alerts: needs, watchers' input, and the comparison."""

from __future__ import annotations

from itertools import islice, pairwise
from random import Random

import pytest
from support.month.ordinary import LAPTOPS, ordinary_month
from support.month.playing import (
    STEP,
    Envwatch,
    Message,
    Score,
    Step,
    score,
    steps,
    watched,
)
from support.month.script import (
    BEAT,
    CONNECTED_FOR,
    DAY,
    HOUR,
    MINUTE,
    NEW_FOR,
    SECOND,
    Cause,
    Fault,
    Need,
    Script,
)

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.fleet.tracking import EVERYTHING

EVERY_LOSS = AlertPolicy(alert=EVERYTHING)


def some_script(rows: int = 3, length: int = HOUR) -> Script:
    script = Script(length)
    for number in range(rows):
        # More than a second apart, as machines' pings are.
        script.row(f"machine-{number}", -2 * DAY + number * 1_700)
    return script


def eventful_script() -> Script:
    script, chance = some_script(rows=14, length=6 * HOUR), Random(1)
    script.down(0, 20 * MINUTE, 30 * MINUTE, Cause.CRASH)
    script.down(1, 25 * MINUTE, 25 * MINUTE + 40 * SECOND, Cause.UPGRADE)
    script.cut([2, 3, 4], 60 * MINUTE, [75 * MINUTE, 76 * MINUTE, 77 * MINUTE])
    script.flap(5, 110 * MINUTE, 125 * MINUTE, lambda: chance.randrange(8, 36))
    script.sleep(6, 140 * MINUTE, 200 * MINUTE)
    script.end(7, 150 * MINUTE, Cause.JOB_END, 170 * MINUTE)
    script.rename(8, 180 * MINUTE, 9 * SECOND, "another")
    script.trouble(210 * MINUTE, 216 * MINUTE, Fault.FAILING)
    script.down(9, 212 * MINUTE, 230 * MINUTE, Cause.CRASH, is_silent=True)
    script.trouble(250 * MINUTE, 255 * MINUTE, Fault.STALLED)
    script.trouble(270 * MINUTE, 275 * MINUTE, Fault.EMPTY)
    script.trouble(290 * MINUTE, 295 * MINUTE, Fault.WRONG_DATE, error=HOUR)
    script.trouble(300 * MINUTE, 305 * MINUTE, Fault.ROUNDED)
    script.trouble(310 * MINUTE, 312 * MINUTE, Fault.STOPPED)
    script.trouble(320 * MINUTE, 340 * MINUTE, Fault.ASLEEP)
    return script


@pytest.mark.parametrize(("lasts", "are_needed"), [(5 * MINUTE - 1, 0), (5 * MINUTE, 1)])
@pytest.mark.parametrize("cause", [Cause.CRASH, Cause.CUT, Cause.CASCADE, Cause.FAILED_UPGRADE, Cause.FLAPPING])
def test_a_person_is_needed_for_what_is_down_or_flaps_for_five_minutes(
    cause: Cause, lasts: int, are_needed: int
) -> None:
    script = some_script()
    script.down(1, 10 * MINUTE, 10 * MINUTE + lasts, cause)
    assert [need.name for need in script.needs()] == ["machine-1"] * are_needed


def test_nobody_is_needed_for_what_ends_or_sleeps_or_is_replaced_by_design() -> None:
    script = some_script(rows=6)
    script.down(0, 10 * MINUTE, 40 * MINUTE, Cause.UPGRADE)
    script.rename(1, 10 * MINUTE, 5 * SECOND, "another")
    script.end(2, 10 * MINUTE, Cause.SANDBOX_END)
    script.end(3, 10 * MINUTE, Cause.JOB_END)
    script.sleep(4, 10 * MINUTE, HOUR)
    script.down(5, 10 * MINUTE, 40 * MINUTE, Cause.POD)
    script.trouble(50 * MINUTE, HOUR, Fault.EMPTY)
    assert script.needs() == []


@pytest.mark.parametrize(("blind_for", "are_needed"), [(MINUTE, 1), (MINUTE + 1, 0)])
def test_no_message_is_demanded_but_one_may_come_if_nobody_could_see_for_five_minutes(
    blind_for: int, are_needed: int
) -> None:
    script = some_script()
    script.down(0, 10 * MINUTE, 16 * MINUTE, Cause.CRASH)
    script.trouble(12 * MINUTE, 12 * MINUTE + blind_for, Fault.FAILING)
    found = score(script, [Message(15 * MINUTE, frozenset({str(script.first[0].id)}))])
    assert (found.needs, found.true) == (are_needed, 1)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_message_has_more_time_while_nobody_can_see(fault: Fault) -> None:
    script = some_script()
    script.down(0, 10 * MINUTE, 50 * MINUTE, Cause.CRASH)
    script.trouble(9 * MINUTE, 12 * MINUTE, fault)
    script.trouble(13 * MINUTE, 14 * MINUTE, fault)
    (need,) = script.needs()
    harmless = dict.fromkeys((Fault.WRONG_DATE, Fault.ROUNDED, Fault.SHIFTED), 0)
    more = (harmless | {Fault.STALLED: 3 * MINUTE + 2 * BEAT}).get(fault, 3 * MINUTE)
    assert need.deadline == 15 * MINUTE + more


def test_the_same_seed_gives_the_same_needs_and_listings() -> None:
    def life(seed: int) -> tuple[list[Need], list[Step]]:
        script = ordinary_month(seed, 1)
        return script.needs(), list(islice(steps(script), 100))

    assert life(1) == life(1)
    assert life(1) != life(2)


def test_looking_seldom_while_nothing_happens_delays_messages_by_one_look() -> None:
    script, seldom, often = eventful_script(), Envwatch(EVERY_LOSS), Envwatch(EVERY_LOSS)
    watched(script, [seldom])
    watched(script, [often], polls=bytes([1]) * (script.length // STEP))
    assert len(seldom.messages) > 5
    for early, late in zip(often.messages, seldom.messages, strict=True):
        assert early.ids == late.ids
        assert abs(late.at - early.at) <= 30 * SECOND


@pytest.mark.parametrize(
    ("told_after", "missed", "true"), [(0, 0, 1), (5 * MINUTE, 0, 1), (5 * MINUTE + 1, 1, 1), (HOUR, 1, 0)]
)
def test_a_need_is_met_within_five_minutes_and_a_message_is_true_while_the_need_lasts(
    told_after: int, missed: int, true: int
) -> None:
    script = some_script(length=2 * HOUR)
    script.down(0, 10 * MINUTE, 30 * MINUTE, Cause.CRASH)
    found = score(script, [Message(10 * MINUTE + told_after, frozenset({str(script.first[0].id)}))])
    assert (found.missed, found.true) == (missed, true)


def test_a_delay_leaves_out_the_time_without_sight() -> None:
    script = some_script()
    script.down(0, 10 * MINUTE, 50 * MINUTE, Cause.CRASH)
    script.trouble(11 * MINUTE, 21 * MINUTE, Fault.STOPPED)
    found = score(script, [Message(22 * MINUTE, frozenset({str(script.first[0].id)}))])
    assert found.delays == [2 * MINUTE]


@pytest.mark.parametrize(("age", "is_new"), [(NEW_FOR - 1, True), (NEW_FOR, False)])
def test_a_row_is_new_for_its_first_48_watched_hours(age: int, *, is_new: bool) -> None:
    script, blind_for = some_script(length=5 * DAY), 3 * HOUR
    row = script.row("new", 10 * HOUR)
    script.trouble(12 * HOUR, 12 * HOUR + blind_for, Fault.FAILING)
    since = 10 * HOUR + blind_for + age
    script.down(row, since, since + HOUR, Cause.CRASH)
    (need,) = script.needs()
    assert need.is_new is is_new
    found = score(script, [])
    assert (found.new_needs, found.new_missed, found.needs, found.missed) == (is_new, is_new, not is_new, not is_new)


@pytest.mark.parametrize(
    ("connected_for", "os", "is_new"),
    [(CONNECTED_FOR, "linux", False), (CONNECTED_FOR - 1, "linux", True), (CONNECTED_FOR, "darwin", True)],
)
def test_a_row_connected_for_a_day_before_the_first_listing_is_not_new(
    connected_for: int, os: str, *, is_new: bool
) -> None:
    script = Script(DAY)
    row = script.row("old", -connected_for, os=os)
    script.down(row, HOUR, 2 * HOUR, Cause.CRASH)
    assert [need.is_new for need in script.needs()] == [is_new]


def test_a_replacing_row_is_as_old_as_the_replaced_row() -> None:
    script = Script(5 * DAY)
    first = script.row("first", 0)
    second = script.rename(first, DAY, 5 * SECOND, "second")
    third = script.set_up_anew(second, 49 * HOUR, 50 * HOUR, "third")
    script.down(third, 52 * HOUR, 53 * HOUR, Cause.CRASH)
    assert [need.is_new for need in script.needs()] == [False, False]


@pytest.mark.parametrize(("true", "brief", "reached"), [(80, 15, True), (79, 16, False), (80, 14, False)])
def test_of_100_messages_80_are_true_and_5_are_wrong_at_most(true: int, brief: int, *, reached: bool) -> None:
    assert bool(Score(messages=103, vm_ends=2, stalls=1, true=true, brief=brief).unreached) is not reached


def test_a_month_has_every_kind_of_life() -> None:
    script = ordinary_month(102, 30)
    laptops = [env for env in script.first if env.name.startswith("laptop-")]
    assert sum(env.os == "linux" for env in laptops) == LAPTOPS // 4
    lasted = {
        cause: [each.until - each.since for each in script.episodes if each.cause is cause]
        for cause in {each.cause for each in script.episodes}
    }
    assert lasted.keys() == set(Cause)
    ups = [up for env in laptops for up in _ups(script, str(env.id))]
    assert max(ups) >= 7 * DAY
    assert 10 < sum(12 * HOUR < up < 2 * DAY for up in ups) < 60
    crashes = [each for each in script.episodes if each.cause is Cause.CRASH]
    assert any(0 < each.since < DAY for each in crashes)
    assert any(need.is_new for need in script.needs())


def _ups(script: Script, id_: str) -> list[int]:
    """Return the times between the sleeps of a row."""
    sleeps = sorted(each for each in script.episodes if each.id == id_)
    return [after.since - before.until for before, after in pairwise(sleeps)]
