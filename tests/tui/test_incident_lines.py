"""Keys on an incident's line in the block, and keys without effect."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import NOW, environment
from support.scripted_watch import recurring_policies

from envwatch.fleet.alerting.recurring_hours import RecurringHours
from envwatch.model.text import clean
from envwatch.tui.app import GUESSED_KEYS
from envwatch.tui.keymap import binding_ids

if TYPE_CHECKING:
    from envwatch.model.environment import Environment


def lost(name: str, ago: float) -> Any:
    return environment(f"env-{name}", connectionName=name, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - ago)


ROWS = [lost("web-1", 5_000), lost("web-2", 9_000), lost("bob", 600_000), environment("env-dan", connectionName="dan")]


async def test_members_that_are_back_do_not_unfold_and_are_explained_in_the_table() -> None:
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
        assert re.search(r"what helps app .*open the Letta Code desktop app", stage.text, re.DOTALL)
        assert re.search(r"what helps 2 of 3, such as web-1 .*letta server .*web-1", stage.text, re.DOTALL)
        assert "--computer-name=app" not in stage.text
        assert stage.text.index("such as web-1") < stage.text.index("helps app"), "two listeners and one app"
        assert "y l" not in stage.text


@pytest.mark.parametrize(("key", "name"), [("Z", "Z"), ("h", "h"), ("right", "right"), ("tab", "tab"), ("@", "@")])
async def test_a_key_without_an_effect_says_so_on_the_dashboard_and_over_it(key: str, name: str) -> None:
    async with staged() as stage:
        await stage.show(ROWS)
        await stage.press(key)
        assert re.fullmatch(rf"{name} does nothing here: (\? shows the keys|⏎ opens the detail)", stage.news)
        await stage.press("question_mark", key)
        assert f"{name} does nothing here" in stage.lines[-1] or key in {"tab", "right"}


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("s", "s does nothing here: o sorts"),
        ("less_than_sign", "< does nothing here: o sorts"),
        ("greater_than_sign", "> does nothing here: o sorts"),
        ("f5", "f5 does nothing here: r refreshes"),
        ("d", "d does nothing here: ⏎ opens the detail"),
        ("tab", "tab does nothing here: ⏎ opens the detail"),
        ("l", "l does nothing here: e shows the events"),
        ("ctrl+f", "ctrl+f does nothing here: pgdn goes a page down"),
        ("ctrl+b", "ctrl+b does nothing here: pgup goes a page up"),
    ],
)
async def test_a_key_of_other_programs_names_the_key_that_does_this(key: str, answer: str) -> None:
    async with staged() as stage:
        await stage.show(ROWS)
        await stage.press(key)
        assert stage.news == answer


async def test_every_guessed_key_leads_to_a_binding_and_to_the_key_of_the_user() -> None:
    assert {id_ for id_, _ in GUESSED_KEYS.values()} <= set(binding_ids())
    async with staged(keymap={"sort.pick": "S"}) as stage:
        await stage.show(ROWS)
        await stage.press("s")
        assert stage.news == "s does nothing here: S sorts"


@pytest.mark.parametrize("columns", [40, 60])
async def test_help_and_quit_stay_in_the_footer_of_a_narrow_screen(columns: int) -> None:
    async with staged((columns, 24)) as stage:
        await stage.show(ROWS)
        assert stage.lines[-1].rstrip().endswith("? Help  q Quit")


async def test_two_hundred_losses_in_ten_minutes_are_all_counted_and_the_newest_is_named() -> None:
    """Five rows are lost every 15 s: each wave is an incident, and part of a storm from the storm's begin on."""

    def row(number: int, at: float) -> Environment:
        is_lost = number < lost_rows
        return environment(
            f"env-{number}",
            connectionName=f"host-{number:03}",
            connectionId=None if is_lost else "conn",
            lastHeartbeat=None if is_lost else at - 1_000,
            lastSeenAt=at - 1_000,
        )

    async with staged() as stage:
        lost_rows = 0
        for poll in range(120):
            lost_rows = 5 * (poll // 3)
            await stage.show([row(number, stage.at) for number in range(300)])
            await stage.tick(5)
        assert f"● {300 - lost_rows} on  ○ {lost_rows} off" in stage.lines[0]
        assert stage.rule.startswith(f"── {300 - lost_rows} online ─")
        *shown, more = stage.block
        assert len(shown) == 7
        assert re.search(rf"NEW +host-{lost_rows - 5:03}, ", shown[0])
        assert re.search(r"^ \+\d+ more, \d+ new · n", more)
        named = sum(int(re.findall(r"\d+", line)[0]) for line in shown)
        lines = stage.app.state.block.lines
        assert sum(len(line.off) for line in lines[7:]) == lost_rows - named
        assert len(lines) - 7 == int(re.findall(r"\d+", more)[0])
        await stage.press(*("n" * len(lines)))
        assert stage.cursor is not None


def computers(at: float, off_at: float, *off: str) -> list[Environment]:
    """Return two laptops, which a silence covers, and a server; some are off since a moment."""
    down: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": off_at - 1_000}
    up = {"lastHeartbeat": at - 1_000}
    return [
        environment(name, connectionName=name, **(down if name in off else up)) for name in ("mac-1", "mac-2", "web")
    ]


def hours_until(end_s: int) -> dict[str, Any]:
    """Return a silence of two hours that ends some seconds after `NOW`, on a whole minute."""
    minute = (NOW + end_s * 1000) / 60_000
    assert minute.is_integer()
    return {"policies": recurring_policies(RecurringHours(begin=int(minute - 120) % 1_440, end=int(minute) % 1_440))}


@pytest.mark.parametrize(("seconds", "is_over"), [(39.999, False), (40.0, True)])
async def test_silenced_rows_count_as_off_at_the_tick_at_which_the_silence_ends(
    seconds: float, *, is_over: bool
) -> None:
    async with staged(**hours_until(40)) as stage:
        await stage.show(computers(stage.at, 0))
        await stage.tick(35)
        await stage.show(computers(stage.at, stage.at - 5_000, "mac-1"))
        await stage.tick(seconds - stage.now)
        assert ("○ 1 off" in stage.lines[0], "1 silenced" in stage.rule) == (is_over, not is_over)
