"""The problem block: under any keys, every screen of a night of 30 minutes keeps the rules of the block."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import Phase, example, given, note, settings
from hypothesis import strategies as st
from support.app_harness import staged
from support.budget import examples
from support.builders import NOW, environment, failed
from support.memory_history import MemoryHistory
from support.on_call import SCRIPT, OnCall, Oracle, polls
from support.rewinding import settle
from support.scripted_watch import recurring_policies
from textual.command import CommandPalette

from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.text import clean
from envwatch.screen.screens.event_log import EventLogScreen
from envwatch.screen.widgets.problem_block import NewestLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

WAIT: Final = "2 s"
NOTHING: Final = ""

KEYS: Final = [
    NOTHING, WAIT, "j", "k", "g", "G", "ctrl+d", "ctrl+u", "n", "n", "N", "x", "enter", "enter", "escape", "escape",
    "slash", "slash w e b enter", "slash o f f escape", *"1234560", "o", "b", "e", "E", "question_mark", "colon",
    "a", "a k enter", "n a enter", "M", "M enter enter", "n M enter enter", "A", "A escape", "space", "y", "y s",
    "left_square_bracket", "L", "p", "m", "equals_sign",
]  # fmt: skip
"""Keys between two polls, simplest first."""

PER_POLL: Final = 2
POLLS: Final = [*polls()]
PRESSED: Final = st.lists(st.sampled_from(KEYS), min_size=PER_POLL * len(POLLS), max_size=PER_POLL * len(POLLS))


class Person:
    """Presses keys, and records in the truth which machines a prompt acknowledges or silences."""

    def __init__(self, stage: Stage, night: OnCall) -> None:
        self._stage = stage
        self._night = night
        self._down: frozenset[str] = frozenset()
        """Machines that were down when the silence was requested."""

    async def press(self, keys: str) -> None:
        for key in keys.split():
            await self._press(key)

    async def _press(self, key: str) -> None:
        if key == "enter":
            key = self._answer()
        elif key == "M":
            self._down = frozenset(name for name, machine in self._night.machines.items() if machine.is_down)
        await self._stage.press(key)
        await settle(self._stage)

    def _answer(self) -> str:
        """Return the key that answers the prompt; `esc` if the prompt names no known machine."""
        night = self._night
        box = " ".join(re.findall(r"[│] (.*?) +│", "\n".join(self._stage.lines)))
        if isinstance(self._stage.app.screen, CommandPalette):
            return "escape"
        if match := re.match(r"Acknowledge on this machine: (.*), until", box):
            named = self._named(match[1])
            if not named:
                return "escape"
            night.acked.update(name for name in named if night.machines[name].is_down)
        elif match := re.match(r"Silence on this machine for \w+: (.*) a note ", box):
            named = self._named(match[1])
            if not named:
                return "escape"
            is_down = {name: night.machines[name].is_down for name in named}
            night.silenced.update(name for name in named if is_down[name] or name not in self._down)
        elif re.search(r"\b(pages|does not page): |^Silence on this machine(: .*\bend\b| for )", box):
            return "escape"  # with a note, the box no longer says where the name ends
        return "enter"

    @property
    def _is_about_incident(self) -> bool:
        app = self._stage.app
        is_in_log = any(isinstance(screen, EventLogScreen) for screen in app.screen_stack)
        return app.dashboard.table.incident is not None and not app.dashboard.marked and not is_in_log

    def _named(self, target: str) -> Sequence[str]:
        """Return the machines in a prompt: a single machine, or the down members of an incident."""
        if target in self._night.machines:
            return [target]
        if not self._is_about_incident:  # marks, a group or an event may name a part of the machines
            return ()
        first = re.sub(r"^pod \S+: ", "", target).partition(",")[0].partition(" and ")[0]
        return next((each.off for each in self._night.incidents() if first in each.off), ())


async def live_through(pressed: Sequence[str], size: tuple[int, int]) -> None:
    night, history = OnCall(), MemoryHistory()
    async with staged(size, record=history.record, pasts={NO_PROFILE: history}) as stage:
        person, oracle = Person(stage, night), Oracle(night)
        for place, second in enumerate(POLLS):
            night.now = stage.now = float(second)
            if second in SCRIPT:
                SCRIPT[second](night)
            if night.failure is None:
                night.believe()
                await stage.show(night.rows())
            else:
                await stage.take(failed(night.failure, stage.at))
            await stage.tick(0)
            oracle.check(stage.lines)
            for keys in pressed[place * PER_POLL : (place + 1) * PER_POLL]:
                if keys == WAIT:
                    await stage.tick(2)
                    night.now = stage.now
                elif keys:
                    await person.press(keys)
                if keys:
                    oracle.check(stage.lines)


def named(pressed: Sequence[str]) -> str:
    return "  ".join(f"{POLLS[place // PER_POLL]}s: {keys}" for place, keys in enumerate(pressed) if keys)


def some_keys() -> list[str]:
    """Return the same random keys for a fifth of the places."""
    chance = random.Random(1)
    return [chance.choice(KEYS) if chance.random() < 0.2 else NOTHING for _ in range(PER_POLL * len(POLLS))]


# A single drawn example would press nothing.
@pytest.mark.slow
@settings(max_examples=examples(10), deadline=None, phases=[Phase.explicit] if examples(10) == 1 else [*Phase])
@example(some_keys(), (80, 24))
@given(PRESSED, st.sampled_from([(80, 24), (60, 20), (40, 8), (120, 36)]))
def test_on_every_screen_of_a_night_the_block_is_true_whatever_keys_are_pressed(
    pressed: list[str], size: tuple[int, int]
) -> None:
    note(f"{size}: {named(pressed)}")
    asyncio.run(live_through(pressed, size))


async def listen(stage: Stage, night: OnCall) -> None:
    night.now = stage.now = stage.now + 5
    night.believe()
    await stage.show(night.rows())
    await stage.tick(0)


async def test_the_open_palette_names_a_new_loss() -> None:
    night = OnCall()
    async with staged((80, 24)) as stage:
        await listen(stage, night)
        await Person(stage, night).press("g G colon")
        night.lose("lone-1")
        await listen(stage, night)
        Oracle(night).check(stage.lines)
        (line,) = stage.app.screen.query(NewestLoss)
        assert line.region.size == (80, 1)  # a separate line, not a line of the dashboard below


async def test_an_answer_of_two_lines_takes_no_column_of_a_low_screen() -> None:
    night, history = OnCall(), MemoryHistory()
    async with staged((40, 8), record=history.record, pasts={NO_PROFILE: history}) as stage:
        for _ in range(3):
            await listen(stage, night)
        await Person(stage, night).press("left_square_bracket 3 3")
        assert "paging: shown already" in stage.text
        assert stage.app.screen.scrollbars_enabled == (False, False)


# Single incidents.


def lost(name: str, ago: float) -> Environment:
    return environment(f"env-{name}", connectionName=name, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - ago)


ROWS: Final = [lost("web-1", 5_000), lost("web-2", 9_000), lost("bob", 600_000), environment("env-dan")]


async def test_an_incident_whose_members_are_back_does_not_unfold() -> None:
    async with staged((100, 24)) as stage:
        await stage.show(ROWS)
        stage.now = 5
        back = [environment(f"env-web-{n}", connectionName=f"web-{n}") for n in (1, 2)]
        await stage.press("x", "j", "k")
        await stage.show([*back, *ROWS[2:]])
        await stage.press("x")
        assert "all members are back" in stage.news
        assert [sum("web-1" in line for line in lines) for lines in (stage.block, stage.body)] == [1, 1]
        await stage.press("E")
        assert stage.cursor == "web-1"


async def test_an_incident_of_several_kinds_has_advice_for_each_kind() -> None:
    app = replace(lost("app", 6_000), listener_instance_id=clean("desktop-direct-cloud:1"))
    async with staged((120, 40)) as stage:
        await stage.show([*ROWS, app])
        await stage.press("enter")
        assert re.search(r"what helps app .*Open the Letta Code desktop app", stage.text, re.DOTALL)
        assert re.search(r"what helps 2 of 3, such as web-1 .*letta server .*web-1", stage.text, re.DOTALL)
        assert "--computer-name=app" not in stage.text
        assert stage.text.index("such as web-1") < stage.text.index("helps app"), "two listeners and one app"
        assert "y l" not in stage.text


@pytest.mark.slow
async def test_every_loss_of_a_storm_is_counted_and_the_newest_is_named() -> None:
    """Five rows are lost every 15 s: each wave is an incident, and part of a storm from the storm's begin on."""

    def row(number: int, at: float) -> Environment:
        down = {"connectionId": None, "lastHeartbeat": None} if number < lost_rows else {"lastHeartbeat": at - 1_000}
        return environment(f"env-{number}", connectionName=f"host-{number:03}", lastSeenAt=at - 1_000, **down)

    async with staged() as stage:
        lost_rows = 0
        for poll in range(50):
            lost_rows = 5 * (poll // 3)
            await stage.show([row(number, stage.at) for number in range(120)])
            await stage.tick(5)
        assert f"○ {lost_rows} page  ● {120 - lost_rows} on" in stage.lines[0]
        assert stage.rule.startswith(f"── {120 - lost_rows} on ─")
        *shown, more = stage.block
        assert len(shown) == 7
        assert re.search(rf"NEW +host-{lost_rows - 5:03}, ", shown[0])
        assert re.search(r"^ \+\d+ more, \d+ new · n", more)
        named = sum(int(re.findall(r"\d+", line)[0]) for line in shown)
        lines = stage.app.state.block.lines
        hidden = sum(len(line.off) for line in lines[7:])
        assert hidden == lost_rows - named == int(re.findall(r"\d+", more)[0])
        await stage.press(*("n" * len(lines)))
        assert stage.cursor is not None


async def test_silenced_rows_count_as_off_at_the_tick_of_the_end_of_the_silence() -> None:
    minute, at_40_s = divmod(NOW + 40_000, 60_000)
    assert not at_40_s
    hours = RecurringHours(begin=int(minute - 120) % 1_440, end=int(minute) % 1_440)

    def rows(*, is_lost: bool) -> list[Environment]:
        link: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None} if is_lost else {}
        return [environment("mac-1", connectionName="mac-1", **link), environment("web", connectionName="web")]

    async with staged(policies=recurring_policies(hours)) as stage:
        await stage.show(rows(is_lost=False))
        await stage.tick(35)
        await stage.show(rows(is_lost=True))
        for seconds, is_over in ((39.999, False), (40.0, True)):
            await stage.tick(seconds - stage.now)
            assert ("○ 1 page" in stage.lines[0], "1 silenced" in stage.rule) == (is_over, not is_over)
