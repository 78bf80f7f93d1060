"""The real app on scripted outcomes: the screen, and the effect of keys on screen and poller."""

from __future__ import annotations

import gc
import re
import weakref
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import Stage, staged, style_in
from support.budget import first_quick
from support.builders import NOW, beating, environment, failed, listed, own_device_id, slept

from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.model.clock import OffsetBounds, ServerMs
from envwatch.model.outcome import Cause
from envwatch.model.text import clean
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.event_log import EventLogScreen
from envwatch.tui.screens.help import SECTIONS, HelpScreen
from envwatch.tui.state import StateNode
from envwatch.tui.widgets.event_list import EventList
from envwatch.tui.widgets.filter_bar import FilterBar
from envwatch.tui.widgets.news_bar import NewsBar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.screen import Screen

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed


_KEYS = {"?": "question_mark", ":": "colon", "/": "slash", "\r": "enter"}


def fleet_of_three(at: float) -> list[Environment]:
    return [
        environment("env-1", connectionName="ada", lastHeartbeat=at - 10_000, currentMode="unrestricted"),
        environment("env-2", connectionName="bob", lastHeartbeat=at - 60_000),
        environment("env-3", connectionName="cyd", connectionId=None, lastHeartbeat=None),
    ]


async def test_the_status_line_names_a_date_that_is_not_believed() -> None:
    async with staged((140, 24)) as stage:
        outcome = listed(beating(3, stage.at), stage.at)
        an_hour_ahead = (OffsetBounds(3_599_500, 3_600_500),)
        await stage.take(outcome._replace(snapshot=outcome.snapshot._replace(clock=an_hour_ahead)), NO_PROFILE)
        assert " DATE +1h " in stage.lines[0]
        assert [event.kind for event in stage.app.state.monitor.event_log] == [Kind.CLOCK_WRONG]
        assert stage.news.startswith("the server's clock (Date) is 1h ahead of this machine's and all heartbeats")
        shown = " ".join(stage.text.split())
        assert "heartbeats: rows (clk?) are judged by this machine's clock, losses still count" in shown
        assert "? 3 unknown" in stage.lines[0]
        assert [line.split()[:2] for line in stage.body[:3]] == [["●", "clk?"]] * 3


async def test_a_wrong_clock_is_said_before_minor_news_but_after_a_loss_and_in_the_pane() -> None:
    def dated(rows: Sequence[Environment]) -> Listed:
        outcome = listed(rows, stage.at)
        return outcome._replace(snapshot=outcome.snapshot._replace(clock=(OffsetBounds(3_599_500, 3_600_500),)))

    async with staged((140, 40)) as stage:
        await stage.take(dated(beating(3, stage.at)), NO_PROFILE)
        stage.now = 90
        await stage.take(dated([environment("env-1", currentMode="plan"), *beating(3, stage.at)[1:]]), NO_PROFILE)
        assert stage.news.startswith("the server's clock (Date) is 1h ahead")
        stage.go_to("env-2")
        await stage.press("enter")
        assert re.search(r"clock +the server's clock \(Date\) is 1h ahead", stage.text)
        stage.now = 95
        down = environment("env-3", connectionId=None)
        await stage.take(dated([*beating(3, stage.at)[:2], down]), NO_PROFILE)
        assert "went offline" in stage.news


async def test_impossible_times_of_all_rows_have_a_badge_and_a_sentence() -> None:
    async with staged((120, 24)) as stage:
        await stage.show([environment(f"env-{n}", lastHeartbeat=NOW / 1000) for n in range(1, 4)])
        assert " TIMES ? " in stage.lines[0]
        assert stage.news.startswith(
            "every heartbeat has an impossible time (before 2020, or more than a day ahead): rows"
        )
        await stage.show(beating(3, stage.at))
        assert "TIMES" not in stage.lines[0]
        kinds = [event.kind for event in stage.app.state.monitor.event_log]
        assert kinds == [Kind.CLOCK_WRONG, Kind.CLOCK_RIGHT]


async def test_the_status_line_counts_rows_whose_times_cannot_be_true_as_unknown() -> None:
    async with staged((100, 24)) as stage:
        rows = beating(3, stage.at)
        await stage.show([rows[0], *(replace(row, last_heartbeat_at=ServerMs(1.0)) for row in rows[1:])])
        assert re.search("● 1 on  [?] 2 unknown  ", stage.lines[0])
        assert stage.rule.startswith("── 1 online · 2 unknown ─")
        assert [line.split()[:2] for line in stage.body] == [["●", "on"], *[["?", "clk?"]] * 2]
        assert stage.block == []


async def test_ages_tick_and_no_verdict_changes_by_the_clock_alone() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.tick(7)
        assert stage.body[-1].split()[:5] == ["●", "on", "1h", "17s", "ada"]
        assert "live 7s" in stage.lines[0]
        await stage.tick(50)
        assert stage.body[-1].split()[:5] == ["●", "on", "1h", "67s", "ada"]
        assert "1 on" in stage.lines[0]


async def test_old_data_is_stale_then_blind() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        for seconds, badge in ((15, "live 15s"), (15.001, "STALE 15s"), (60, "STALE 60s"), (60.001, "BLIND 60s")):
            await stage.tick(seconds - stage.now)
            assert stage.now == seconds
            assert badge in stage.lines[0], seconds
            assert ("? 3 unknown" in stage.lines[0]) is badge.startswith("BLIND"), seconds
            glyphs = [line.strip("▌► ")[0] for line in (*stage.block, *stage.body)]
            assert (glyphs == ["?"] * 3) is badge.startswith("BLIND"), seconds


async def test_a_fresh_loss_has_a_tag_and_a_bar_for_15_minutes_also_when_only_time_passes() -> None:
    async with staged() as stage:
        await stage.show(beating(2, stage.at))
        stage.now = 5
        await stage.show([environment("env-1", connectionId=None), beating(2, stage.at)[1]])
        for seconds, is_marked in ((0, True), (899, True), (1, False)):
            await stage.tick(seconds)
            (line,) = stage.block
            assert (line[:2], " NEW " in line) == ("▌►" if is_marked else " ►", is_marked), seconds
            assert ("1 new" in stage.lines[0]) is is_marked, seconds


async def test_a_row_that_cannot_be_read_is_named_and_its_verdict_reads_unknown() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        stage.now = 5
        one = listed(fleet_of_three(stage.at)[:2], stage.at)
        snapshot = one.snapshot._replace(rejected=1, rejected_ids=frozenset({clean("env-3")}))
        await stage.take(one._replace(snapshot=snapshot))
        assert "1 unreadable (env-3)" in stage.lines[0]
        (row,) = [line for line in stage.block if "cyd" in line]
        assert row.split()[:2] == ["▌►?", "off"]


@pytest.mark.parametrize("wait", [None, timedelta(0), timedelta(seconds=60)])
async def test_before_the_first_listing_an_error_stands_once_with_the_keys_that_work(wait: timedelta | None) -> None:
    message = clean("too many requests, error 1015")
    async with staged() as stage:
        for stage.now in (0, 5, 10):
            await stage.take(replace(failed(Cause.RATE_LIMITED, stage.at), message=message, retry_after=wait))
        assert stage.text.count("1015") == 1
        key = "the server asked to wait" if wait else "r tries again now"
        assert f"No listing yet: {message} ({key}, q quits)" in " ".join(stage.text.split())
        assert "rate limited " in stage.text
        await stage.pilot.resize_terminal(60, 12)
        assert stage.text.count("1015") == 2, "a short screen may cut the sentence in the table"
        await stage.press("e")
        assert "polls fail · rate limited: too many requests" in stage.text


async def test_the_log_goes_to_a_row_that_the_filter_hides() -> None:
    async with staged() as stage:
        await stage.show(beating(3))
        stage.now = 5
        await stage.show([environment("env-1", connectionId=None), *beating(3, stage.at)[1:]])
        await stage.press("2")
        assert len(stage.app.dashboard.table.rows) == 2
        await stage.press("e", "enter")
        await stage.pilot.pause()
        assert stage.app.dashboard.table.cursor is not None
        assert stage.app.dashboard.table.cursor.environment.id == "env-1"


async def test_a_group_opens_in_the_log_and_closes_again() -> None:
    async with staged() as stage:
        await stage.show(beating(12))
        stage.now = 5
        await stage.show(beating(12, connectionId=None))
        await stage.press("e")
        place = next(y for y, line in enumerate(stage.lines) if "12 went offline together" in line)
        assert stage.lines[place + 1].strip() == ""
        await stage.press("enter")
        assert sum("went offline · " in line for line in stage.lines) == 12
        await stage.press("enter")
        assert stage.lines[place + 1].strip() == ""
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)


@pytest.mark.parametrize(
    ("key", "kind"), [("e", EventLogScreen), pytest.param("question_mark", HelpScreen, marks=pytest.mark.slow)]
)
async def test_closed_screens_are_released(key: str, kind: type[Screen[Any]]) -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        for _ in range(3):
            await stage.press(key)
            assert isinstance(stage.app.screen, kind)
            await stage.press("escape")
        await stage.tick()
        gc.collect()
        assert sum(isinstance(thing, kind) for thing in gc.get_objects()) <= 1


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


async def test_screens_open_and_close_by_their_key_escape_and_q() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        for key, screen in (("e", EventLogScreen), ("question_mark", HelpScreen)):
            for closing in (key, "escape", "q"):
                await stage.press(key)
                assert isinstance(stage.app.screen, screen), (key, closing)
                await stage.press(closing)
                assert isinstance(stage.app.screen, Dashboard), (key, closing)


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_a_command_that_ascii_would_change_is_not_shown(*, ascii_only: bool) -> None:
    update = {"self_update": {"supported": False, "manual_command": "npm i @例/code"}}
    async with staged((130, 50), ascii_only=ascii_only) as stage:
        row = {"deviceId": own_device_id(), "connectionName": "東京-a", "connectionId": None, "metadata": update}
        await stage.show([environment("env-1", **row)])
        pane = " ".join(line[80:].strip(" ▏|") for line in stage.lines)
        for label, command in (
            ("do", "letta server --computer-name='東京-a'"),
            ("by hand", "npm i @例/code"),
        ):
            text = "this terminal cannot show all of it" if ascii_only else command
            assert f"{label} {text} " in re.sub(r"[ \\]+", " ", re.sub(" y [a-z] ", "", pane))


WAYS_BACK = [
    (((80, 24), "E"), ((80, 50), "escape"), ((120, 36), "q")),
    (
        *(((80, 24), back) for back in ("escape", "q")),
        *(((80, 50), back) for back in ("E", "q")),
        *(((120, 36), back) for back in ("E", "escape")),
    ),
]


@pytest.mark.parametrize("ways", first_quick(WAYS_BACK), ids=["each size", "each key"])
async def test_the_explanation_is_a_part_of_the_pane_below_the_verdict(
    ways: Sequence[tuple[tuple[int, int], str]],
) -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        for size, back in ways:
            await stage.pilot.resize_terminal(*size)
            before = [line[:-2] for line in stage.lines]  # without the scroll bar, which comes some frames later
            await stage.press("E")
            pane = [line.rpartition("▏")[2].strip() for line in stage.lines]
            place = next(y for y, line in enumerate(pane) if line.startswith("── why"))
            assert any(re.match("○ OFFLINE for ", line) for line in pane[place - 3 : place - 1]), (size, back)
            assert pane[place + 1].startswith("This environment is offline: "), (size, back)
            assert any(line.startswith("Letta's client → would say offline") for line in pane), (size, back)
            await stage.press(back)
            assert [line[:-2] for line in stage.lines] == before, (size, back)
            assert stage.table.has_focus, (size, back)


async def test_the_explanation_follows_the_cursor_and_goes_with_the_pane() -> None:
    async with staged((120, 36)) as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.press("E", "G")
        assert "This environment is online" in stage.text
        await stage.app.dashboard.run_action("detail")
        await stage.turns()
        assert "This environment is online" not in stage.text
        await stage.app.dashboard.run_action("detail")
        await stage.turns()
        assert "This environment is online" not in stage.text


async def test_esc_leaves_the_explanation_before_the_pane_that_was_open_already() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.press("enter", "E")
        assert "── why" in stage.text
        await stage.press("escape")
        assert "── why" not in stage.text
        assert "── about" in stage.text
        await stage.press("escape")
        assert stage.table.has_focus


async def test_screens_open_over_an_empty_fleet_too() -> None:
    async with staged() as stage:
        await stage.press("E")
        assert isinstance(stage.app.screen, Dashboard)
        await stage.show([])
        for key in (
            "E",
            "e",
            "escape",
            "question_mark",
            "escape",
            "j",
            "G",
            "n",
            "enter",
            "v",
            "c",
            "full_stop",
            "I",
            "slash",
        ):
            await stage.press(key)
        assert stage.app.is_running


async def test_quitting_gives_its_code() -> None:
    async with staged() as stage:
        await stage.press("q")
        assert stage.app.return_code == 0
    async with staged() as stage:
        await stage.press("ctrl+c")
        assert stage.app.return_code == 130


async def test_help_names_every_key_once() -> None:
    async with staged((80, 110)) as stage:
        await stage.press("question_mark")
        text = "\n".join(stage.lines)
        # Two sections need a user-defined command and view.
        titles = {title for section, title in SECTIONS.items() if section not in {"command", "view"}}
        assert titles <= {line.strip() for line in stage.lines}
        entries = ("n +Next loss", "N +Previous loss", "p +Pause", "r +Refresh now", "E +Explain", "0 +Reset")
        for line in entries:
            assert len(re.findall(rf"^ +{line}", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("widths", first_quick([(40, 61, 80), (41, 50, 79, 81, 100, 120)]), ids=["some", "the others"])
async def test_no_line_shows_a_key_without_its_label_or_cuts_a_word(widths: tuple[int, ...]) -> None:
    async with staged((widths[0], 24)) as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.pilot.resize_terminal(200, 24)
        words = {word for word in stage.lines[-1].split() if len(word) > 2}
        for width in widths:
            await stage.pilot.resize_terminal(width, 24)
            shown = stage.lines[-1].split()
            assert shown[:2] == ["/", "Filter"], width
            assert [word for word in shown if len(word) > 2] == [word for word in shown if word in words], width
            assert shown[-1] in words, width
        stage.now = 5
        await stage.show(
            [*fleet_of_three(stage.at)[:2], environment("env-3", connectionName="cyd", lastHeartbeat=stage.at)]
        )
        for width in widths:
            await stage.pilot.resize_terminal(width, 24)
            assert not re.search(r" (0|0s|0s a|0s ag)$", stage.news), width


async def test_the_status_bar_counts_the_newest_listing_and_nothing_while_blind() -> None:
    async with staged((120, 24)) as stage:
        for modes in (["unrestricted", "unrestricted"], ["unrestricted", "standard"], ["standard", "standard"]):
            await stage.show([environment(f"env-{n}", currentMode=mode) for n, mode in enumerate(modes)])
            count = modes.count("unrestricted")
            assert (f" {count} unrestricted" in stage.lines[0]) is (count > 0), modes
            assert stage.app.state.counts.unrestricted == count
        await stage.show([environment("env-0", currentMode="unrestricted")])
        assert " 1 unrestricted" in stage.lines[0]
        await stage.tick(1_000)
        assert "unrestricted" not in stage.lines[0]


@pytest.mark.parametrize(
    "width", [80, pytest.param(60, marks=pytest.mark.slow), pytest.param(120, marks=pytest.mark.slow)]
)
async def test_a_long_query_is_cut_before_anything_else_and_never_its_count(width: int) -> None:
    async with staged((width, 24)) as stage:
        await stage.show(beating(3, stage.at))
        before = stage.lines[0].split()
        await stage.type(f"/{'laptop ' * (width // 8)}")
        assert re.search("laptop.*… 3/3 ", stage.lines[0])
        assert {"●", "3", "live"} <= set(before) & set(stage.lines[0].split())


async def test_the_digit_keys_type_into_the_filter_when_it_has_the_keys() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.press("slash", "4", "slash")
        assert str(stage.app.dashboard.view.query) == "4/"
        assert stage.app.dashboard.view.preset == "all"


@pytest.mark.parametrize(
    "sizes",
    first_quick([{(119, 39): False, (120, 24): True, (80, 40): True}, {(200, 50): True}]),
    ids=["some", "the others"],
)
async def test_the_pane_opens_by_itself_where_there_is_room(sizes: dict[tuple[int, int], bool]) -> None:
    async with staged((119, 39)) as stage:
        await stage.show(fleet_of_three(stage.at))
        for size, is_shown in sizes.items():
            await stage.pilot.resize_terminal(*size)
            assert stage.app.dashboard.query_one("#detail").display is is_shown, size
            assert stage.app.dashboard.table.display, size


@pytest.mark.parametrize(
    "sizes", first_quick([{(119, 39): False, (120, 24): True}, {(80, 40): True}]), ids=["some", "the others"]
)
async def test_the_pane_stands_beside_or_below_the_table_or_covers_it(sizes: dict[tuple[int, int], bool]) -> None:
    async with staged((119, 39)) as stage:
        await stage.show(fleet_of_three(stage.at))
        detail = stage.app.dashboard.query_one("#detail")
        for size, table_stays in sizes.items():
            await stage.pilot.resize_terminal(*size)
            stage.app.dashboard.wants_detail = None
            await stage.press("enter")
            assert detail.display, size
            assert detail.has_focus, size
            assert stage.app.dashboard.table.display is table_stays, size
            await stage.press("escape", "escape")
            assert stage.app.dashboard.table.has_focus, size
            assert not detail.display, size


async def test_the_pane_does_not_open_over_the_reason_why_the_table_is_empty() -> None:
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


async def test_a_pane_over_the_table_makes_way_for_the_reason_why_nothing_is_shown() -> None:
    async with staged() as stage:
        await stage.show(beating(3, stage.at))
        await stage.press("enter", "5")
        assert "Nothing matches" in stage.text
        assert stage.table.has_focus


@pytest.mark.parametrize(
    "sizes", first_quick([{(80, 24): False, (120, 24): True}, {(80, 40): True}]), ids=["some", "the others"]
)
async def test_the_table_is_visible_while_a_filter_is_typed(sizes: dict[tuple[int, int], bool]) -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        for size, pane_stays in sizes.items():
            await stage.pilot.resize_terminal(*size)
            stage.app.dashboard.wants_detail = None
            await stage.press("0", "enter")
            await stage.type("/bo")
            assert stage.app.dashboard.query_one(FilterBar).input.has_focus, size
            assert any("bob" in line for line in stage.body), size
            await stage.press("enter")
            assert stage.table.has_focus, size
            assert stage.app.dashboard.query_one("#detail").display is pane_stays, size


async def test_reset_shows_everything_as_one_list_but_keeps_columns_and_baseline() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        view = stage.app.dashboard.view
        await stage.press("m", "equals_sign", "2", "I", "b", "m", "enter", "X")
        stage.app.dashboard.view = replace(stage.app.dashboard.view, columns=("mode",))
        await stage.type("/bo")
        await stage.press("enter", "0")
        now = stage.app.dashboard.view
        assert now.baseline is not None
        assert replace(now, baseline=None, columns=()) == view
        assert now.columns == ("mode",)
        assert stage.news == "view reset: all environments, problems first, no groups"


def pane_of(stage: Stage) -> list[str]:
    return [line.partition("▏")[2].strip() for line in stage.lines if "▏" in line]


async def test_the_pane_shows_the_row_under_the_cursor_and_its_events() -> None:
    async with staged((120, 50)) as stage:
        await stage.show(fleet_of_three(stage.at))
        stage.now = 5
        await stage.show(
            [*fleet_of_three(stage.at)[:2], environment("env-3", connectionName="cyd", lastHeartbeat=stage.at)]
        )
        for key, name in (("g", "cyd"), ("G", "bob")):
            await stage.press(key)
            assert pane_of(stage)[0] == name
        stage.app.dashboard.select((NO_PROFILE, clean("env-3")))
        await stage.pilot.pause()
        assert any(re.search("back online", line) for line in pane_of(stage))


async def test_times_go_from_relative_to_local_to_utc() -> None:
    async with staged() as stage:
        assert stage.app.options.times == "relative"
        await stage.press("t")
        assert stage.app.options.times == "local"
        await stage.press("t")
        assert stage.app.options.times == "UTC"
        await stage.press("t")
        assert stage.app.options.times == "relative"


PLACES = ("C",)
OTHER_PLACES = ("", "\r", "?", "e", "a", "E", ":", "o", "b", "y", "/")
WIDTHS = [(1, 8), (2, 3, 4, 5, 6, 7, 12)]


@pytest.mark.parametrize("widths", first_quick(WIDTHS), ids=["some", "the others"])
@pytest.mark.parametrize("keys", [*PLACES, *(pytest.param(key, marks=pytest.mark.slow) for key in OTHER_PLACES)])
async def test_whatever_is_open_survives_every_small_size(keys: str, widths: tuple[int, ...]) -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        await stage.press("j", *(_KEYS.get(key, key) for key in keys))
        for width in widths:
            for height in (1, 3, 24):
                await stage.pilot.resize_terminal(width, height)
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


async def test_the_log_opens_on_the_message_that_is_cut() -> None:
    async with staged((60, 15)) as stage:
        await stage.show(beating(3, stage.at))
        stage.app.answer(f"cannot export: {'the folder is full, ' * 12}THE END")
        await stage.tick(0)
        assert "e: all of it" in stage.text
        await stage.show([environment("env-1", connectionId=None), *beating(3, stage.at)[1:]])
        await stage.press("e")
        assert "THE END" in stage.text
        await stage.press("q")
        await stage.tick(60)
        await stage.press("e")
        assert "THE END" not in stage.text


async def test_cut_messages_that_alternate_are_logged_once_each() -> None:
    async with staged((60, 15)) as stage:
        for word in ("refused", "reset", "refused", "reset"):
            stage.app.answer(f"connection {word}: {'try again later, ' * 20}")
            await stage.tick(0)
        assert len(stage.app.state.monitor.event_log) == 2


@pytest.mark.parametrize("size", [(120, 36), pytest.param((200, 50), marks=pytest.mark.slow)])
async def test_a_small_fleet_leaves_less_than_a_third_of_the_lines_empty(size: tuple[int, int]) -> None:
    async with staged((40, 8)) as stage:  # a small screen while events collect: each listing is drawn
        for stage.now in range(0, 400, 10):
            mode = f"mode-{stage.now}"
            await stage.show(
                [each if n else replace(each, mode=clean(mode)) for n, each in enumerate(beating(5, stage.at))]
            )
        await stage.pilot.resize_terminal(*size)
        await stage.press("G")
        assert sum(not line.strip(" │▏▎") for line in stage.lines) < size[1] / 3


async def test_what_is_not_seen_after_a_sleep_is_counted_as_unknown_before_a_poll_has_failed() -> None:
    async with staged() as stage:
        await stage.show(fleet_of_three(stage.at))
        stage.now = 20
        await stage.take(slept(stage.at - 10_000, stage.at))
        assert stage.rule.startswith("── 2 online ─")
        await stage.tick(50)
        assert not any("blind" in event.kind for event in stage.app.state.monitor.event_log)
        assert stage.rule.startswith("── 3 unknown ─")


async def test_a_filter_with_fewer_lines_than_the_cursors_place_moves_the_cursor() -> None:
    async with staged() as stage:
        await stage.show(beating(9, stage.at))
        stage.now = 5
        down = [environment(f"env-{n}", connectionId=None) for n in range(1, 3)]
        await stage.show([*down, *beating(9, stage.at)[2:]])
        stage.now = 10
        await stage.show(beating(9, stage.at))
        await stage.press("e")
        await stage.press("G")
        await stage.type("/went")
        await stage.press("enter")
        (title,) = [y for y, line in enumerate(stage.lines) if "FILTER 2/4" in line]
        assert stage.lines[title + 1].startswith("►")


async def test_an_end_that_is_requested_while_the_first_screen_is_built_is_no_crash() -> None:
    app = Stage().app
    app.call_later(app.exit, None, 143)
    await app.run_async(headless=True)
    assert (app.crash, app.return_code) == (None, 143)


@pytest.mark.parametrize(("width", "rest"), [(66, ", when envwatch began to watch"), (65, "")])
async def test_the_sentence_about_a_quiet_fleet_is_never_cut(width: int, rest: str) -> None:
    async with staged((width, 24)) as stage:
        await stage.show(beating(3))
        assert stage.news == f"nothing has changed since 08:53:20{rest}"


async def test_the_first_line_of_the_news_repeats_no_event_below() -> None:
    async with staged((80, 24)) as stage:
        await stage.show(beating(4, stage.at))
        for stage.now, lost in ((5, 1), (10, 3)):
            down = [environment(f"env-{n}", connectionId=None) for n in range(1, lost + 1)]
            await stage.show([*down, *beating(4, stage.at)[lost:]])
        news = [line for line in stage.lines if "went offline" in line]
        assert [re.findall("env-[0-9]", line) for line in news] == [["env-2", "env-3"], ["env-1"]]


@pytest.mark.parametrize(("columns", "others"), [(100, True), (46, False)])
async def test_other_changes_are_dim_and_yield_to_the_newest_loss(columns: int, *, others: bool) -> None:
    async with staged((columns, 24)) as stage:
        await stage.show([environment(f"env-{n}") for n in range(9)])
        stage.now = 5
        await stage.show([environment("env-0", connectionId=None), *(environment(f"env-{n}") for n in range(1, 9))])
        stage.now = 10
        rows = [environment("env-2", currentMode="plan"), environment("env-3", currentMode="plan")]
        rows += [environment(f"env-{n}") for n in range(4, 9)]
        await stage.show([*(environment(f"env-{n}", connectionId=None) for n in range(2)), *rows])
        assert "laptop of env-1 went offline" in re.sub(" +", " ", stage.news)
        assert ("2 other changes" in stage.news) is others
        assert "more" not in stage.news
        if others:
            dim = style_in(stage.line_of("2 other changes"), "2 other changes")
            assert dim.color == stage.app.query_one(NewsBar).get_component_rich_style("line--faint").color


async def test_recent_events_leave_room_for_why_the_table_is_empty() -> None:
    async with staged() as stage:
        await stage.show([environment(f"env-{n}") for n in range(30)])
        for n in range(30):
            stage.now += 1
            await stage.show([environment(f"env-{i}", currentMode="plan" if i <= n else None) for i in range(30)])
        await stage.type("/nothing")
        assert "Nothing matches. esc clears the filter, 0 resets the view." in stage.text
        assert "mode" in stage.news
