"""The baseline keys: mark a moment, and show only differing rows."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from support.app_harness import staged
from support.builders import NOW, environment

from envwatch.model.environment import SANDBOX_DEVICE
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage

    from envwatch.model.environment import Environment


SANDBOXES = {"bob", "cyd"}
"""Rows whose end needs nobody, so they stay in the table."""


def named(name: str, at: float, **changes: Any) -> Environment:
    device = f"{SANDBOX_DEVICE if name in SANDBOXES else ''}{name}"
    row = {"connectionName": name, "deviceId": device, "lastHeartbeat": at - 10_000}
    return environment(f"env-{name}", **(row | changes))


def lost(name: str, at: float) -> Environment:
    return named(name, at, connectionId=None, lastHeartbeat=None)


def those(at: float, *names: str) -> list[Environment]:
    return [named(name, at) for name in names]


@asynccontextmanager
async def marked(size: tuple[int, int] = (80, 24), **wishes: Any) -> AsyncIterator[Stage]:
    async with staged(size, **wishes) as stage:
        await stage.show(those(stage.at, "ada", "bob", "cyd", "dan"))
        await stage.press("m")
        yield stage


async def change(stage: Stage) -> None:
    """A minute later: `ada` has another mode, `bob` is off, `cyd` is gone, `dan` is unchanged and `eve` is new."""
    for stage.now in (60, 65):
        await stage.show(
            [
                named("ada", stage.at, currentMode="unrestricted"),
                lost("bob", stage.at),
                *those(stage.at, "dan", "eve"),
            ]
        )


def differences(stage: Stage) -> dict[str, str]:
    start = stage.titles.index("SINCE THE BASELINE")
    rows = [line for line in stage.lines_of(stage.table) if re.match(r"[▌ ][► ][●◐○·?] ", line)]
    return {line[20:].split()[0]: line[start:].strip() for line in rows}


async def test_marking_and_comparing_say_what_they_do() -> None:
    async with staged() as stage:
        await stage.press("m")
        assert stage.news == "nothing to mark: no answer yet"
        assert stage.app.dashboard.view.baseline is None
        await stage.show(those(stage.at, "ada"))
        await stage.press("equals_sign")
        assert stage.news == "no baseline yet: :baseline marks the present as the baseline"
        assert stage.names == ["ada"]
        await stage.press("m")
        assert stage.news == "baseline marked: :compare shows the differences from now on"
        assert "BASELINE" not in stage.lines[0]
        await stage.press("equals_sign")
        assert "BASELINE" in stage.lines[0]
        assert re.search(
            "Nothing differs from the baseline of 08:53:20. Differences appear here. esc shows everything again",
            " ".join(stage.body),
        )
        stage.now = 60
        await stage.show(those(stage.at, "ada"))
        assert stage.names == [], "time alone makes no difference"


async def test_an_empty_fleet_is_a_baseline_too() -> None:
    async with staged() as stage:
        await stage.show([])
        await stage.press("m", "equals_sign")
        stage.now = 5
        await stage.show(those(stage.at, "ada"))
        assert differences(stage) == {"ada": "new, online"}


async def test_only_differing_rows_are_shown_until_a_new_mark() -> None:
    async with marked() as stage:
        await stage.press("equals_sign")
        assert stage.names == []
        await change(stage)
        assert differences(stage) == {
            "ada": "mode standard → unrestricted",
            "bob": "state online → offline",
            "cyd": "gone, was online",
            "eve": "new, online",
        }
        at = datetime.fromtimestamp(NOW / 1000).astimezone()
        assert f" BASELINE {at:%H:%M} 4/5 " in stage.lines[0]
        await stage.press("j", "m", "enter")
        assert stage.names == []
        assert "Nothing differs" in stage.body[0]
        stage.now = 70
        await stage.show([named("ada", stage.at), lost("bob", stage.at), *those(stage.at, "dan", "eve")])
        assert differences(stage) == {"ada": "mode unrestricted → standard"}


async def test_a_row_equal_again_stays_under_the_cursor_until_the_cursor_leaves() -> None:
    async with marked() as stage:
        await change(stage)
        await stage.press("equals_sign", "g")
        assert stage.cursor == "bob"
        stage.now = 75
        await stage.show(
            [named("ada", stage.at, currentMode="unrestricted"), *those(stage.at, "bob", "cyd", "dan", "eve")]
        )
        assert differences(stage) == {"bob": "", "ada": "mode standard → unrestricted", "eve": "new, online"}
        await stage.press("j")
        assert "bob" not in stage.names


async def test_comparing_ends_by_escape_zero_and_its_own_key_and_baseline_and_cursor_stay() -> None:
    async with marked() as stage:
        await change(stage)
        for key in ("escape", "0", "equals_sign"):
            stage.app.dashboard.select((clean(""), clean("env-eve")))
            await stage.press("equals_sign")
            assert (len(stage.names), stage.cursor) == (4, "eve"), key
            await stage.press(key)
            assert "BASELINE" not in stage.lines[0]
            assert "SINCE THE BASELINE" not in stage.titles
            assert sorted(stage.names) == ["ada", "bob", "cyd", "dan", "eve"]
            assert stage.cursor == ("bob" if key == "0" else "eve"), key
        stage.app.dashboard.select((clean(""), clean("env-dan")))
        await stage.press("equals_sign")
        assert sorted(stage.names) == ["ada", "bob", "cyd", "eve"], "no row that does not differ is left"


async def test_a_comparison_can_be_sorted_grouped_and_filtered() -> None:
    async with marked() as stage:
        await change(stage)
        await stage.press("equals_sign", "b", "m", "enter")
        headers = [line.split("  ")[0] for line in stage.body if line[0] in "▾▸"]
        assert headers == ["▾ mode standard", "▾ mode unrestricted"]
        await stage.press("0", "equals_sign", "o", "n", "enter")
        assert stage.names == ["ada", "bob", "cyd", "eve"]
        await stage.press("I")
        assert stage.names == ["eve", "cyd", "bob", "ada"]
        await stage.type("/status:offline,gone")
        assert stage.names == ["cyd", "bob"]
        assert " 2/5 " in stage.lines[0]
        await stage.press("enter", "4")
        assert stage.names == ["cyd", "bob"]


async def test_a_loss_stays_in_the_block_whether_a_difference_or_not() -> None:
    async with staged((80, 30)) as stage:
        await stage.show([lost("ada", stage.at), *those(stage.at, "dan", "eve")])
        await stage.press("m", "equals_sign")
        stage.now = 60
        await stage.show([lost("ada", 0), lost("dan", stage.at), *those(stage.at, "eve")])
        assert [re.sub(" +", " ", line)[:18] for line in stage.block] == ["▌►○ off 0s NEW dan", "▌ ○ off 1m NEW ada"]
        assert stage.names == []
        assert " 1/3 " in stage.lines[0]
        await stage.press("enter")
        assert re.search(r"── since the baseline ─+ *\n *state +online → offline *\n", stage.text)
        await stage.press("n")
        assert stage.cursor == "ada"
        assert "since the baseline" not in stage.text


async def test_the_pane_shows_with_and_without_comparing_what_differs_also_a_name_like_markup() -> None:
    async with marked((200, 60)) as stage:
        assert "since the baseline" not in stage.text
        branch = "[@click=app.quit]x[/] [/"
        stage.now = 5
        rows = [named("ada", stage.at, metadata={"gitBranch": branch}), *those(stage.at, "bob", "cyd", "dan")]
        await stage.show(rows)
        for name, has_differences in (("ada", True), ("dan", False), ("ada", True)):
            stage.app.dashboard.select((clean(""), clean(f"env-{name}")))
            await stage.pilot.pause()
            pane = "\n".join(line.partition("▏")[2].strip() for line in stage.lines)
            assert bool(re.search(r"── since the baseline ─+\n.*\nbranch +main → \[@cl", pane)) is has_differences, name
        await stage.press("equals_sign")
        assert f"branch main → {branch}" in differences(stage)["ada"]
        await stage.press("m", "enter")
        assert "since the baseline" not in stage.text


async def test_profiles_are_compared_side_by_side_and_one_without_a_listing_does_not_read_as_new() -> None:
    work, home = clean("work"), clean("home")
    async with staged((120, 24), profiles=(work, home)) as stage:
        await stage.show(those(stage.at, "bob"), work)
        await stage.press("m")
        assert stage.news == "baseline marked: :compare shows the differences from now on, except home: not listed yet"
        await stage.press("equals_sign")
        stage.now = 5
        await stage.show(those(stage.at, "bob"), home)
        assert stage.names == []
        await stage.press("m", "enter")
        await stage.show([lost("bob", stage.at), named("eve", stage.at)], home)
        assert {tracked.key for tracked in stage.table.rows} == {(home, "env-bob"), (home, "env-eve")}


async def test_a_baseline_is_replaced_only_after_a_question() -> None:
    async with staged() as stage:
        await stage.show(those(stage.at, "ada"))
        await stage.press("m")
        first = stage.app.dashboard.view.baseline
        stage.now = 5
        await stage.show(those(stage.at, "ada"))
        for key, is_kept in (("escape", True), ("enter", False)):
            await stage.press("m")
            assert "Replace the baseline of 08:53:20?" in stage.text
            await stage.press(key)
            assert (stage.app.dashboard.view.baseline is first) is is_kept, key
