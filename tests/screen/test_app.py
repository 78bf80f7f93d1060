"""The app on scripted outcomes: status line, news, panes, sizes, and the first frames."""

from __future__ import annotations

import ast
import gc
import re
import weakref
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.app_harness import Stage, running, staged, style_in
from support.budget import first_quick
from support.builders import NOW, beating, environment, failed, listed, own_device_id

import envwatch
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.model.clock import OffsetBounds, ServerMs, WallMs
from envwatch.model.outcome import Cause
from envwatch.model.text import SafeText, cells, clean
from envwatch.screen.screens.event_log import EventLogScreen
from envwatch.screen.state import ASCII, StateNode
from envwatch.screen.terminal.driver import to_ascii
from envwatch.screen.widgets.event_list import EventList
from envwatch.screen.widgets.filter_bar import FilterBar
from envwatch.screen.widgets.news_bar import NewsBar
from envwatch.watch.loop import News

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed


def fleet_of_three(at: float) -> list[Environment]:
    return [
        environment("env-1", connectionName="ada", lastHeartbeat=at - 10_000, currentMode="unrestricted"),
        environment("env-2", connectionName="bob", lastHeartbeat=at - 60_000),
        environment("env-3", connectionName="cyd", connectionId=None, lastHeartbeat=None),
    ]


# -- status line and news ----------------------------------------------------------------------------------------------
async def test_profiles_have_a_column_a_trouble_and_rows_of_their_own() -> None:
    work, home = clean("work"), clean("home")
    async with staged((120, 40), profiles=(work, home)) as stage:
        await stage.show([environment("env-1", connectionName="ours")], work)
        assert "asking home" in stage.lines[0]
        await stage.show([environment("env-1", connectionName="mine")], home)
        assert "work, home" in stage.lines[0]
        assert "● 2 on" in stage.lines[0]
        assert "PROFILE" in stage.titles
        assert [" ".join(line[:60].split()[4:6]) for line in stage.body[:2]] == ["mine home", "ours work"]
        stage.now = 5
        await stage.show([environment("env-1", connectionName="ours", connectionId=None)], work)
        for keys, profile in (("G",), home), (("e", "enter"), work):
            await stage.press(*keys)
            assert stage.app.dashboard.table.cursor is not None
            assert stage.app.dashboard.table.cursor.key == (profile, "env-1")
            said = "\n".join(line[74:] for line in stage.lines[:-2])
            assert ("went offline" in said) is (profile == work)
        stage.now = 62
        await stage.show([environment("env-1", connectionName="ours", lastHeartbeat=stage.at)], work)
        await stage.take(failed(Cause.TIMEOUT, stage.at), home)
        await stage.tick()
        assert " BLIND home 63s " in stage.lines[0]
        assert "● 1 on" in stage.lines[0]
        assert "? 1 unknown" in stage.lines[0]
        assert stage.news.startswith("home: timeout:")
        assert ["?" in line[:2] for line in stage.body[:2]].count(True) == 1


async def test_a_wrong_date_is_said_before_minor_news_but_after_a_loss_and_in_the_pane() -> None:
    def dated(rows: Sequence[Environment]) -> Listed:
        outcome = listed(rows, stage.at)
        return outcome._replace(snapshot=outcome.snapshot._replace(clock=(OffsetBounds(3_599_500, 3_600_500),)))

    async with staged((140, 40)) as stage:
        await stage.take(dated(beating(3, stage.at)))
        assert " DATA ? server clock +1h " in stage.lines[0]
        assert "? 3 unknown" in stage.lines[0]
        assert [line.split()[:2] for line in stage.body[:3]] == [["●", "clk?"]] * 3
        assert [event.kind for event in stage.app.state.monitor.event_log] == [Kind.CLOCK_WRONG]
        assert "heartbeats: machines (clk?) are judged by this machine's clock, losses" in " ".join(stage.text.split())
        stage.now = 90
        await stage.take(dated([environment("env-1", currentMode="plan"), *beating(3, stage.at)[1:]]))
        assert stage.news.startswith("the server's clock (Date) is 1h ahead")
        stage.go_to("env-2")
        await stage.press("enter")
        assert re.search(r"clock +the server's clock \(Date\) is 1h ahead", stage.text)
        stage.now = 95
        await stage.take(dated([*beating(3, stage.at)[:2], environment("env-3", connectionId=None)]))
        assert "went offline" in stage.news


async def test_impossible_times_are_counted_as_unknown_and_those_of_all_rows_have_a_badge() -> None:
    async with staged((120, 24)) as stage:
        await stage.show([environment(f"env-{n}", lastHeartbeat=NOW / 1000) for n in range(1, 4)])
        assert " DATA ? times " in stage.lines[0]
        assert stage.news.startswith("every heartbeat has an impossible time (before 2020, or more than a day ahead)")
        rows = beating(3, stage.at)
        await stage.show([rows[0], *(replace(row, last_heartbeat_at=ServerMs(1.0)) for row in rows[1:])])
        assert "DATA ?" not in stage.lines[0]
        assert re.search("● 1 on  [?] 2 unknown  ", stage.lines[0])
        assert stage.rule.startswith("── 1 on · 2 unknown ─")
        assert [line.split()[:2] for line in stage.body[:3]] == [["●", "on"], *[["?", "clk?"]] * 2]
        assert stage.block == []


async def test_by_time_alone_ages_tick_and_data_is_stale_and_then_blind() -> None:
    async with staged((120, 24)) as stage:
        await stage.show(fleet_of_three(stage.at))
        assert " 1 unrestricted" in stage.lines[0]
        for seconds, badge in (
            *((7, "live 7s"), (15, "live 15s"), (15.001, "DATA ? stale 15s")),
            *((60, "DATA ? stale 60s"), (60.001, "BLIND 60s")),
        ):
            await stage.tick(seconds - stage.now)
            assert stage.now == seconds
            assert badge in stage.lines[0], seconds
            is_blind = badge.startswith("BLIND")
            assert ("? 3 unknown" in stage.lines[0]) is is_blind, seconds
            assert ("1 unrestricted" in stage.lines[0]) is not is_blind, seconds
            lines = (*stage.block, *(line for line in stage.body if re.search("ada|bob", line)))
            assert ([line.strip("▌► ")[0] for line in lines] == ["?"] * 3) is is_blind, seconds
            (ada,) = (line for line in stage.body if " ada " in line)
            assert ada.split()[3] == f"{10 + int(seconds)}s", seconds


async def test_a_fresh_loss_has_a_tag_and_a_bar_for_15_minutes_also_when_only_time_passes() -> None:
    async with staged() as stage:
        await stage.show(beating(2, stage.at))
        stage.now = 5
        await stage.show([environment("env-1", connectionId=None), beating(2, stage.at)[1]])
        for seconds, is_marked in ((0, True), (899, True), (1, False)):
            await stage.tick(seconds)
            (line,) = stage.block
            assert (line[:2], " NEW " in line) == ("▌►" if is_marked else " ►", is_marked), seconds


async def test_an_unreadable_row_is_named_and_its_verdict_reads_unknown() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        stage.now = 5
        one = listed(fleet_of_three(stage.at)[:2], stage.at)
        snapshot = one.snapshot._replace(rejected=1, rejected_ids=frozenset({clean("env-3")}))
        await stage.take(one._replace(snapshot=snapshot))
        assert "1 unreadable (env-3)" in stage.lines[0]
        (row,) = [line for line in stage.block if "cyd" in line]
        assert row.split()[:2] == ["▌►?", "off"]


async def test_before_the_first_listing_an_error_stands_once_with_the_keys_of_use() -> None:
    message = clean("too many requests, error 1015")
    async with staged() as stage:
        for wait, key in (
            (None, "Press r to try again now, or q to quit."),
            (timedelta(0), "Press r to try again now, or q to quit."),
            (timedelta(seconds=60), "The server asked to wait. Press q to quit."),
        ):
            stage.now += 5
            await stage.take(replace(failed(Cause.RATE_LIMITED, stage.at), message=message, retry_after=wait))
            assert stage.text.count("1015") == 1
            assert f"No answer yet: {message}. {key}" in " ".join(stage.text.split())
        assert "rate limited " in stage.text
        await stage.pilot.resize_terminal(60, 12)
        assert stage.text.count("1015") == 2, "a short screen may cut the sentence in the table"
        await stage.press("e")
        assert "polls fail · rate limited: too many requests" in stage.text


async def test_a_failing_hook_stays_on_the_screen_until_a_success_and_a_fresh_loss_comes_first() -> None:
    failing: dict[SafeText, WallMs] = {}
    down = environment(beating(1)[0].id, connectionId=None, lastHeartbeat=None)
    async with staged(news=lambda _: News(failing_hooks=dict(failing))) as stage:
        await stage.show(beating(3))
        assert "hook" not in stage.text
        failing[clean("page")] = WallMs(NOW)
        await stage.show(beating(3))
        assert stage.news.startswith("hook page has failed since 08:53:20"), stage.news
        assert "no incident message arrives" in stage.text
        stage.now += 5
        await stage.show([down, *beating(3)[1:]])
        assert "went offline" in stage.news, stage.news
        for _ in range(5):
            stage.now += 13
            await stage.show([down, *beating(3, stage.at)[1:]])
        assert stage.news.startswith("hook page has failed since"), stage.news
        failing.clear()
        await stage.show([down, *beating(3, stage.at)[1:]])
        assert "hook" not in stage.text


async def test_the_first_line_of_the_news_repeats_no_event_below() -> None:
    async with staged() as stage:
        await stage.show(beating(4, stage.at))
        for stage.now, lost in ((5, 1), (10, 3)):
            down = [environment(f"env-{n}", connectionId=None) for n in range(1, lost + 1)]
            await stage.show([*down, *beating(4, stage.at)[lost:]])
        news = [line for line in stage.lines if "went offline" in line]
        assert [re.findall("env-[0-9]", line) for line in news] == [["env-2", "env-3"], ["env-1"]]


async def test_other_changes_are_dim_and_yield_to_the_newest_loss() -> None:
    async with staged((100, 24)) as stage:
        await stage.show([environment(f"env-{n}") for n in range(9)])
        stage.now = 5
        await stage.show([environment("env-0", connectionId=None), *(environment(f"env-{n}") for n in range(1, 9))])
        stage.now = 10
        rows = [environment("env-2", currentMode="plan"), environment("env-3", currentMode="plan")]
        rows += [environment(f"env-{n}") for n in range(4, 9)]
        await stage.show([*(environment(f"env-{n}", connectionId=None) for n in range(2)), *rows])
        dim = style_in(stage.line_of("2 other changes"), "2 other changes")
        assert dim.color == stage.app.query_one(NewsBar).get_component_rich_style("line--faint").color
        for columns, others in ((100, True), (46, False)):
            await stage.pilot.resize_terminal(columns, 24)
            assert "laptop of env-1 went offline" in re.sub(" +", " ", stage.news)
            assert ("2 other changes" in stage.news) is others
            assert "more" not in stage.news


async def test_recent_events_leave_room_for_why_the_table_is_empty() -> None:
    async with staged() as stage:
        for stage.now in range(12):
            rows = beating(12, stage.at)
            await stage.show([replace(row, mode=clean(f"mode-{n < stage.now}")) for n, row in enumerate(rows)])
        await stage.type("/nothing")
        assert "Nothing matches. esc clears the filter, 0 resets the view." in stage.text
        assert "mode" in stage.news


async def test_no_line_shows_a_key_without_its_label_or_cuts_a_word_a_sentence_or_a_count() -> None:
    async with staged((66, 24)) as stage:
        await stage.show(beating(3, stage.at))
        assert stage.news == "nothing has changed since 08:53:20, when envwatch began to watch"
        await stage.pilot.resize_terminal(65, 24)
        assert stage.news == "nothing has changed since 08:53:20"
        stage.now = 5
        await stage.show([environment("env-1", connectionId=None), *beating(3, stage.at)[1:]])
        await stage.pilot.resize_terminal(200, 24)
        words = {word for word in stage.lines[-1].split() if len(word) > 2}
        for width in (40, 61, 80):
            await stage.pilot.resize_terminal(width, 24)
            shown = stage.lines[-1].split()
            assert shown[:2] == ["/", "Filter"], width
            assert [word for word in shown if len(word) > 2] == [word for word in shown if word in words], width
            assert shown[-1] in words, width
            assert not re.search(r" (0|0s|0s a|0s ag)$", stage.news), width
        before = stage.lines[0].split()
        await stage.type(f"/{'laptop ' * 10}")
        assert re.search("laptop.*… 3/3 ", stage.lines[0])
        assert {"●", "2", "live"} <= set(before) & set(stage.lines[0].split())


async def test_markup_in_data_is_text_everywhere() -> None:
    name = "[@click=app.quit]x[/] [/"
    metadata = {"gitBranch": name, name: {name: name}, "self_update": {"supported": True, "reason": name}}
    async with staged((160, 50)) as stage:
        row = environment("env-1", connectionName=name, currentMode=name, metadata=metadata)
        await stage.show([row])
        stage.now = 5
        await stage.show([environment("env-1", connectionName=name, currentMode=f"{name}2", metadata=metadata)])
        assert sum(name[:12] in line for line in stage.lines) >= 6
        for key in ("E", "escape", "e", "escape", "c"):
            await stage.press(key)
            assert name[:12] in "\n".join(stage.lines)
        for x, y in ((20, 2), (110, 1), (110, 8), (40, 48)):
            await stage.pilot.click(offset=(x, y))
        assert stage.app.is_running


# -- panes and screens -------------------------------------------------------------------------------------------------
async def test_a_closed_screen_drops_the_fleet_at_once_and_the_drawn_lines_at_the_next_tick() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.press("e")
        nodes = [node for node in stage.app.screen.walk_children() if isinstance(node, StateNode)]
        drawn = weakref.ref(stage.app.screen.query_one(EventList)._styles_cache)  # noqa: SLF001  the lines have no name
        assert {len(node.state.monitor.fleet) for node in nodes} == {3}
        await stage.press("escape")
        assert {len(node.state.monitor.fleet) for node in nodes} == {0}
        nodes.clear()
        await stage.press("e", "escape")  # Textual remembers the last closed screen
        await stage.tick()
        gc.collect()
        assert drawn() is None
        assert sum(isinstance(thing, EventLogScreen) for thing in gc.get_objects()) <= 1


async def test_the_explanation_is_a_part_of_the_pane_below_the_verdict() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        for size, back in (((80, 24), "E"), ((80, 50), "escape"), ((120, 36), "q")):
            await stage.pilot.resize_terminal(*size)
            before = [line[:-2] for line in stage.lines]  # without the scroll bar, which comes some frames later
            await stage.press("E")
            pane = [line.rpartition("▏")[2].strip() for line in stage.lines]
            place = next(y for y, line in enumerate(pane) if line.startswith("── why"))
            assert any(re.match("○ OFF for ", line) for line in pane[place - 3 : place - 1]), size
            assert pane[place + 1].startswith("This machine is offline: "), size
            assert any(line.startswith("Letta's client → would say offline") for line in pane), size
            await stage.press(back)
            assert [line[:-2] for line in stage.lines] == before, size
            assert stage.table.has_focus, size


async def test_the_explanation_follows_the_cursor_and_goes_before_the_pane_and_with_the_pane() -> None:
    async with staged((120, 16)) as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.press("enter", "pagedown", "E")
        assert "why · E goes back" in stage.text
        assert "Letta's client" in stage.text, "all of it, although the pane was scrolled"
        await stage.press("escape")
        assert "why · E goes back" not in stage.text
        assert stage.app.dashboard.query_one("#detail").display
        await stage.press("escape")
        assert stage.table.has_focus
        await stage.pilot.resize_terminal(120, 36)
        await stage.press("E", "G")
        assert "This machine is online" in stage.text
        for _ in range(2):
            await stage.app.dashboard.run_action("detail")
            await stage.turns()
            assert "This machine is online" not in stage.text


async def test_the_pane_opens_where_there_is_room_beside_or_below_the_table_or_covers_the_table() -> None:
    async with staged((119, 39)) as stage:
        await stage.show(fleet_of_three(stage.at))
        dashboard = stage.app.dashboard
        detail = dashboard.query_one("#detail")
        for size, has_room in {(119, 39): False, (120, 24): True, (80, 40): True}.items():
            await stage.pilot.resize_terminal(*size)
            dashboard.wants_detail = None
            await stage.turns()
            assert (detail.display, stage.table.display) == (has_room, True), size
            await stage.press("enter")
            assert (detail.display, detail.has_focus, stage.table.display) == (True, True, has_room), size
            await stage.type("/bo")
            assert dashboard.query_one(FilterBar).input.has_focus, size
            assert any("bob" in line for line in stage.body), "the table is visible while a filter is typed"
            await stage.press("enter")
            assert (stage.table.has_focus, detail.display) == (True, has_room), size
            await stage.press("0", "enter", "escape", "escape")
            assert (stage.table.has_focus, detail.display) == (True, False), size


async def test_the_pane_does_not_cover_the_reason_why_the_table_is_empty() -> None:
    async with staged() as stage:
        for is_listed in (False, True):
            if is_listed:
                await stage.show([])
            reason = stage.body
            assert reason, is_listed
            for key in ("enter", "v"):
                await stage.press(key)
                assert stage.news == "nothing to open: the table is empty", (is_listed, key)
                assert stage.body == reason, (is_listed, key)
                assert stage.table.has_focus, (is_listed, key)
                stage.app.answer("")
                await stage.pilot.pause()
                assert "nothing to open" not in stage.news, (is_listed, key)
        await stage.show(beating(3, stage.at))
        await stage.press("enter", "2")
        assert "Nothing matches" in stage.text
        assert stage.table.has_focus


async def test_the_pane_shows_the_row_under_the_cursor_and_its_events() -> None:
    async with staged((120, 50)) as stage:
        await stage.show(fleet_of_three(stage.at))
        stage.now = 5
        back = environment("env-3", connectionName="cyd", lastHeartbeat=stage.at)
        await stage.show([*fleet_of_three(stage.at)[:2], back])
        for key, name, has_events in (("G", "bob", False), ("g", "cyd", True)):
            await stage.press(key)
            pane = [line.partition("▏")[2].strip() for line in stage.lines if "▏" in line]
            assert pane[0] == name
            assert any("back online" in line for line in pane) is has_events


async def test_no_command_is_shown_changed_in_ascii() -> None:
    update = {"self_update": {"supported": False, "manual_command": "npm i @例/code"}}
    async with staged((130, 50), ascii_only=True) as stage:
        row = {"deviceId": own_device_id(), "connectionName": "東京-a", "connectionId": None, "metadata": update}
        await stage.show([environment("env-1", **row)])
        pane = " ".join(line[80:].strip(" ▏|") for line in stage.lines)
        for label in ("do", "by hand"):
            text = f"{label} this terminal cannot show all of it "
            assert text in re.sub(r"[ \\]+", " ", re.sub(" y [a-z] ", "", pane))


async def test_reset_shows_everything_as_one_list_but_keeps_columns_and_baseline() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        view = stage.app.dashboard.view
        await stage.press("m", "equals_sign", "4", "I", "b", "m", "enter", "X")
        stage.app.dashboard.view = replace(stage.app.dashboard.view, columns=("mode",))
        await stage.type("/bo")
        await stage.press("enter", "0")
        now = stage.app.dashboard.view
        assert now.baseline is not None
        assert replace(now, baseline=None, columns=()) == view
        assert now.columns == ("mode",)
        assert stage.news == "view reset: all machines, losses first, no groups; 0 again undoes it"


async def test_times_go_from_relative_to_local_to_utc() -> None:
    async with staged() as stage:
        for times in ("relative", "local", "UTC", "relative"):
            assert stage.app.options.times == times
            await stage.press("t")


# -- sizes and frames --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", first_quick(["C", "", "enter", "question_mark", "e", "a", "E", "colon", "o", "b", "y"]))
async def test_whatever_is_open_survives_every_small_size(key: str) -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.press("j", *([key] if key else []))
        for size in ((1, 1), (1, 24), (3, 3), (8, 1), (8, 24)):
            await stage.pilot.resize_terminal(*size)
        await stage.pilot.resize_terminal(80, 24)
        assert stage.app.is_running


async def test_a_terminal_below_40_by_8_is_too_small() -> None:
    async with staged((40, 8)) as stage:
        await stage.show(fleet_of_three(stage.at))
        for size, is_too_small in {(40, 8): False, (39, 8): True, (40, 7): True, (1, 1): True}.items():
            await stage.pilot.resize_terminal(*size)
            assert stage.app.dashboard.query_one("#too-small").display is is_too_small, size
            assert stage.app.dashboard.query_one("#body").display is not is_too_small, size
        await stage.pilot.resize_terminal(30, 9)
        assert " ".join(stage.text.split()) == "too small: envwatch needs 40x8 cells"


async def test_a_small_fleet_leaves_less_than_a_third_of_the_lines_empty() -> None:
    async with staged((40, 8)) as stage:  # a small screen while events collect: each listing is drawn
        for stage.now in range(0, 300, 10):
            first, *others = beating(5, stage.at)
            await stage.show([replace(first, mode=clean(f"mode-{stage.now}")), *others])
        await stage.pilot.resize_terminal(120, 36)
        await stage.press("G")
        assert sum(not line.strip(" │▏▎") for line in stage.lines) < 36 / 3


async def test_an_end_while_the_first_screen_is_built_is_no_crash() -> None:
    app = Stage().app
    app.call_later(app.exit, None, 143)
    await app.run_async(headless=True)
    assert (app.crash, app.return_code) == (None, 143)


def recorded(stage: Stage) -> list[list[str]]:
    frames: list[list[str]] = []
    stage.app.post_display_hook = lambda: frames.append(stage.lines)  # type: ignore[method-assign]  # Textual's hook for tests
    return frames


COUNT = r"[●◐○] [0-9]+ [a-z]+"


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
@pytest.mark.parametrize("is_there", [True, False], ids=["the data is there", "the data comes later"])
async def test_no_first_frame_is_incomplete_or_laid_out_for_another_size(
    size: tuple[int, int], *, is_there: bool
) -> None:
    stage = Stage(is_drawn_when_idle=False)
    lost = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": stage.at - 3 * 86_400_000}
    down = environment("env-8", connectionName="ada", connectionId=None, lastHeartbeat=None)
    rows = [*beating(5, stage.at), down, environment("env-9", connectionName="zoe", **lost)]
    frames = recorded(stage)
    if is_there:
        await stage.app.take(stage.watch.take(NO_PROFILE, listed(rows, stage.at)))
    async with running(stage, size):
        if not is_there:
            await stage.show(rows)
    filled = [lines for lines in frames if any("10s" in line for line in lines)]
    assert (frames[0] in filled) is is_there
    assert filled
    counts = ["○ 1 page", "● 5 on"]
    assert re.findall(COUNT, frames[-1][0]) == counts
    titles = {line.partition("▏")[0].rstrip() for lines in frames for line in lines if line.startswith("  STATE ")}
    assert len(titles) == 1, "the columns stay"
    for lines in frames:
        text = "\n".join(lines)
        assert ("▏" in text) is (size[0] >= 120)
        assert "No environments" not in text
        assert "0 on" not in text
        assert re.findall(COUNT, lines[0]) in ([[], counts] if lines in filled else [[]])
        assert (lines in filled) is ("▸ off for over 24 h  ○ 1" in text)
        assert (lines in filled) is bool(re.search("^▌►○ off +12s NEW  ada ", text, re.MULTILINE))
        assert (lines in filled) is ("── 5 on · 1 old ──" in text)


async def test_the_help_comes_with_all_its_columns() -> None:
    stage = Stage()
    async with running(stage, (140, 40)):
        frames = recorded(stage)
        await stage.press("question_mark")
        helps = [lines for lines in frames if any(line.startswith(" Move") for line in lines)]
        assert helps
        assert all(re.search(r"^ Move +\w", "\n".join(lines), re.MULTILINE) for lines in helps)


# -- ASCII -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "replaced"), [("×8", "x8"), ("≥ 120 s", "> 120 s"), ("ada → bob", "ada > bob"), ("é 東京", "e ????")]
)
def test_a_character_becomes_a_similar_one_of_the_same_width(text: str, replaced: str) -> None:
    assert to_ascii(text) == replaced
    assert cells(text) == len(replaced)


def test_each_mark_of_the_table_is_an_ascii_character_of_its_own() -> None:
    assert all(str(glyph).isascii() for glyph in ASCII)
    no_marks = {"is_ascii", "ellipsis", "nothing", "separator", "rule"}
    glyphs = [glyph for name, glyph in ASCII._asdict().items() if name not in no_marks]
    assert len(set(glyphs)) == len(glyphs)


def test_every_sentence_of_ours_is_legible_in_ascii() -> None:
    sentences = {
        node.value
        for path in (Path(envwatch.__file__).parent / "views").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 1
    }
    assert sentences
    assert {text for text in sentences if "?" in to_ascii(text).replace("?", "", text.count("?"))} == set()
