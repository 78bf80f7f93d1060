"""The keys that arrange the table: groups, folding, columns, order."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import NOW, environment
from textual.widgets import OptionList

from envwatch.model.environment import SANDBOX_DEVICE
from envwatch.model.text import clean
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.dialogs import ColumnPicker, Menu, SortMenu
from envwatch.views.table.table_view import OLD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

DAY = 24 * 60 * 60


def named(name: str, at: float = NOW, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **({"lastHeartbeat": at - 10_000} | changes))


def off(name: str, seconds: float, **changes: Any) -> Environment:
    return named(name, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - seconds * 1000, **changes)


def in_pods() -> list[Environment]:
    return [named("ada", podId="p-1"), named("bob", podId="p-2"), named("cyd", podId="p-1"), named("dan", podId=None)]


@asynccontextmanager
async def dashboard(
    rows: Sequence[Environment], size: tuple[int, int] = (80, 24), **wishes: Any
) -> AsyncIterator[Stage]:
    async with staged(size, **wishes) as stage:
        await stage.show(rows)
        yield stage


def offered(stage: Stage) -> dict[str, str]:
    menu = stage.app.screen
    assert isinstance(menu, Menu | SortMenu)
    choices = {choice.title: choice.note for choice in menu._choices}  # noqa: SLF001
    return {title: note for title, note in choices.items() if not title.startswith("META.")}


async def group_by_pod(stage: Stage) -> None:
    await stage.press("b", "p", "enter")


# Groups.


async def begin_again(stage: Stage) -> None:
    """Show all rows as one list, with the cursor in the initial state."""
    await stage.press("0")
    assert not stage.app.dashboard.view.group
    assert stage.cursor == stage.names[0]


async def test_b_offers_what_rows_can_be_grouped_by_and_how_many_groups_that_makes() -> None:
    async with dashboard(in_pods()) as stage:
        before = stage.app.dashboard.view
        for key in ("escape", "q"):  # leaving a menu changes nothing
            await stage.press("b", "p")
            assert isinstance(stage.app.screen, Menu), key
            await stage.press(key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert stage.app.dashboard.view is before, key
        await stage.press("b")
        assert offered(stage) == {
            "nothing": "one list",
            "POD": "3 groups",
            "USER": "1 group",
            "OS": "1 group",
            "VERSION": "1 group",
            "MODE": "1 group",
            "BRANCH": "1 group",
        }
        await stage.press("escape", "slash", *"ada", "enter", "b")  # only visible rows count
        assert offered(stage)["POD"] == "1 group"


async def test_rows_stand_under_what_they_have_in_common_those_without_it_too_until_the_grouping_is_removed() -> None:
    async with dashboard(in_pods()) as stage:
        await group_by_pod(stage)
        assert [line.split("  ")[0] for line in stage.body if "▾" in line] == ["▾ pod p-1", "▾ pod p-2", "▾ no pod"]
        assert "▾ pod p-1  ● 2" in stage.body
        assert [tracked.environment.name for heading in stage.table.headers for tracked in heading.environments] == [
            "ada",
            "cyd",
            "bob",
            "dan",
        ]
        assert stage.news == "grouped by POD: x folds a group, x again all"
        await stage.press("b")
        assert stage.app.screen.query_one(OptionList).highlighted == 1
        await stage.press("n", "enter")
        assert stage.table.headers == []
        assert stage.news == "not grouped"


async def test_the_long_offline_form_no_group_by_value() -> None:
    async with dashboard([*in_pods(), off("old", DAY + 1, podId="p-9")]) as stage:
        await stage.press("b")
        assert offered(stage)["POD"] == "3 groups"
        await stage.press("escape", "4", "b")
        assert offered(stage)["POD"] == "1 group"


async def test_profiles_are_offered_where_there_are_several_and_have_a_column_that_cannot_be_hidden() -> None:
    work, home = clean("work"), clean("home")
    async with staged(profiles=(work, home)) as stage:
        await stage.show([named("ada")], work)
        await stage.show([named("bob")], home)
        await stage.press("b")
        assert offered(stage)["PROFILE"] == "2 groups"
        await stage.press("p", "enter")
        assert [line.split("  ")[0] for line in stage.body if "▾" in line] == ["▾ profile work", "▾ profile home"]
        # The profile columns can move, but cannot be hidden.
        await begin_again(stage)
        assert titles(stage)[4] == "profile"
        await choose(stage, "J", "enter")
        assert titles(stage)[4:6] == ["mode", "profile"]
        await choose(stage, "j", "space", "enter")
        assert "profile" in titles(stage)


async def test_j_and_k_move_in_a_menu_whatever_its_choices_begin_with() -> None:
    async with dashboard([named("ada")], columns=("state", "name", "mode", "owner")) as stage:
        await stage.press("o")
        options = stage.app.screen.query_one(OptionList)
        assert "KEY OWNER" in offered(stage)
        await stage.press("j", "j")
        assert options.highlighted == 2
        await stage.press("k")
        assert options.highlighted == 1


async def test_an_empty_fleet_offers_no_groups() -> None:
    async with dashboard([]) as stage:
        await stage.press("b")
        assert offered(stage)["POD"] == "0 groups"
        await stage.press("p", "enter")
        assert "No environments." in stage.text


# Folding.


async def test_a_group_is_folded_and_opened_from_its_header() -> None:
    async with dashboard(in_pods()) as stage:
        for fold in ("x", "enter"):
            await group_by_pod(stage)
            await stage.press("g")
            assert stage.cursor == "pod p-1", fold
            await stage.press(fold)
            assert stage.body[:2] == ["▸ pod p-1  ● 2", "▾ pod p-2  ● 1"], fold
            assert stage.cursor == "pod p-1", fold
            await stage.press("j", "k", fold)
            assert stage.body[0] == "▾ pod p-1  ● 2", fold
            assert [stage.body[1].split()[4], stage.body[2].split()[4]] == ["ada", "cyd"], fold
            assert stage.cursor == "pod p-1", fold
            await begin_again(stage)
        await group_by_pod(stage)
        place = next(y for y, line in enumerate(stage.lines) if "▾ pod p-2" in line)
        await stage.pilot.click(offset=(5, place))
        await stage.pilot.pause()
        assert "▸ pod p-2  ● 1" in stage.body
        assert stage.cursor == "pod p-2"


async def test_x_again_makes_all_groups_like_the_one_that_it_folded_and_elsewhere_begins_with_one() -> None:
    async with dashboard(in_pods()) as stage:
        await group_by_pod(stage)
        await stage.press("g", "x", "x")
        assert [line[0] for line in stage.body] == ["▸", "▸", "▸"]
        await stage.press("x")
        assert [line[0] for line in stage.body if "pod" in line] == ["▾", "▾", "▾"]
        await stage.press("x")
        assert [line[0] for line in stage.body] == ["▸", "▸", "▸"]
        await begin_again(stage)
        await group_by_pod(stage)
        await stage.press("g", "x", "j", "k", "x")
        assert [line[0] for line in stage.body if "pod" in line] == ["▾", "▾", "▾"]


async def test_x_on_a_row_folds_its_group_and_the_cursor_goes_to_the_header_and_enter_opens_the_row() -> None:
    async with dashboard(in_pods()) as stage:
        for moves in ((), ("j",)):
            await group_by_pod(stage)
            await stage.press(*moves, "x")
            assert stage.cursor == "pod p-1", moves
            assert stage.body[0] == "▸ pod p-1  ● 2", moves
            assert stage.names == ["ada", "bob", "cyd", "dan"], moves
            await begin_again(stage)
        await group_by_pod(stage)
        await stage.press("enter")
        assert all(heading.is_open for heading in stage.table.headers)
        assert stage.app.dashboard.query_one("#detail").display


async def test_big_x_folds_all_and_the_cursor_goes_to_its_group_and_opens_all_again() -> None:
    async with dashboard(in_pods()) as stage:
        await group_by_pod(stage)
        stage.app.dashboard.select((clean(""), clean("env-bob")))
        await stage.press("X")
        assert stage.news == "folded all 3 groups"
        assert [line[0] for line in stage.body] == ["▸", "▸", "▸"]
        assert stage.cursor == "pod p-2"
        await stage.press("X")
        assert all(heading.is_open for heading in stage.table.headers)
        assert stage.cursor == "pod p-2"
        await begin_again(stage)
        await group_by_pod(stage)
        await stage.press("x", "X")  # the rest, while one group is open
        assert not any(heading.is_open for heading in stage.table.headers)
        # Folded groups stay folded through listings, and a new group is open.
        stage.now = 5
        await stage.show([*in_pods(), named("eve", podId="p-3")])
        assert {heading.title: heading.is_open for heading in stage.table.headers} == {
            "pod p-1": False,
            "pod p-2": False,
            "pod p-3": True,
            "no pod": False,
        }


async def test_a_new_action_takes_an_answer_to_an_older_one_away() -> None:
    async with dashboard(in_pods()) as stage:
        await stage.press("x")
        assert stage.news == "nothing to fold: b groups rows"
        await stage.press("X")
        assert stage.news == "nothing to fold: b groups rows"
        await group_by_pod(stage)
        await stage.press("X")
        assert stage.news == "folded all 3 groups"
        await stage.press("x")
        assert "folded" not in stage.news


async def test_another_grouping_starts_with_its_groups_open() -> None:
    async with dashboard([*in_pods(), off("old", DAY + 1)]) as stage:
        await group_by_pod(stage)
        await stage.press("X", "b", "v", "enter")
        assert {heading.key: heading.is_open for heading in stage.table.headers} == {
            ("group", "version", "0.34.12"): True,
            OLD: False,
        }


@pytest.mark.parametrize(("seconds", "is_folded"), [(DAY - 1, False), (DAY, True)])
async def test_those_offline_for_a_day_are_folded_away_by_themselves(seconds: float, *, is_folded: bool) -> None:
    async with dashboard([named("ada"), off("old", seconds)]) as stage:
        assert (stage.body[-1] == "▸ offline for over 24 h  ○ 1") is is_folded
        assert [" old " in line for line in stage.block] == ([] if is_folded else [True])
        assert not any(" old " in line for line in stage.body)
        assert stage.cursor == ("ada" if is_folded else "old")


async def test_the_long_offline_can_be_opened_and_folded_again() -> None:
    async with dashboard([named("ada"), off("old", DAY)]) as stage:
        for keys in (("x",), ("X",), ("G", "enter"), ("G", "x")):
            await stage.press(*keys)
            assert stage.body[-2] == "▾ offline for over 24 h  ○ 1", keys
            assert stage.body[-1].split()[:5] == ["○", "off", "1d", "–", "old"], keys
            await stage.press(*keys[-1:])
            assert stage.body[-1] == "▸ offline for over 24 h  ○ 1", keys
            await stage.press("0")
            assert stage.cursor == "ada"
        # A filter finds folded rows.
        await stage.press("4")
        assert [line.split()[4] for line in stage.body] == ["old"]


async def test_a_group_opened_below_the_edge_of_the_screen_scrolls_into_view() -> None:
    rows = [*(named(f"row-{n:02}") for n in range(30)), *(off(f"old-{n}", DAY) for n in range(3))]
    async with dashboard(rows) as stage:
        await stage.press("G", "x")
        assert [line.split()[-4] for line in stage.body[-3:]] == ["old-0", "old-1", "old-2"]


async def test_the_pane_shows_the_group_under_the_cursor() -> None:
    async with staged((120, 20)) as stage:
        await stage.show([named("up"), *(off(f"old-{n}", DAY) for n in range(6))])
        await stage.press("G")
        assert "6 environments" in "\n".join(line[74:] for line in stage.lines)


# Columns.


def titles(stage: Stage) -> list[str]:
    return [column.id for column, _ in stage.table.columns]


async def choose(stage: Stage, *keys: str) -> None:
    await stage.press("C", *keys)


FITTING = ["state", "for", "beat", "name", "mode", "version", "branch"]


async def test_columns_can_be_hidden_shown_and_put_in_order_and_zero_goes_back_to_those_that_fit() -> None:
    async with dashboard(in_pods()) as stage:
        assert titles(stage) == FITTING
        await choose(stage, "space", "j", "j", "K", "enter")
        assert isinstance(stage.app.screen, Dashboard)
        assert titles(stage) == ["state", "for", "beat", "name", "branch", "version"]
        assert stage.titles.split() == ["STATE", "FOR", "BEAT", "NAME", "BRANCH", "VERSION"]
        assert stage.news == "4 columns"
        await choose(stage, *"jjjj", "x", "enter")
        assert titles(stage) == ["state", "for", "beat", "name", "branch", "version", "os"]
        await choose(stage, "0")
        assert titles(stage) == FITTING
        assert stage.news == "columns: as many as fit"
        # The first and the last column cannot move further.
        await choose(stage, "K", "J", "J", "J", "shift+up", "shift+down", "enter")
        assert titles(stage) == ["state", "for", "beat", "name", "version", "branch", "mode"]
        await choose(stage, "end", "J", "J", "enter")
        assert titles(stage) == ["state", "for", "beat", "name", "version", "branch", "mode"]


async def test_the_picker_shows_what_is_chosen_and_what_each_column_means_and_changes_nothing_if_cancelled() -> None:
    kept: list[dict[str, Any]] = []
    async with dashboard(in_pods(), keep=lambda **changes: kept.append(changes)) as stage:
        for key in ("escape", "q", "C"):
            await choose(stage)
            assert isinstance(stage.app.screen, ColumnPicker), key
            assert "[x] MODE        permission mode" in stage.text, key
            assert "[ ] UP          time since the connection" in stage.text, key
            assert "PROFILE" not in stage.text, key
            await stage.press("space")
            assert "[ ] MODE" in stage.text, key
            await stage.press("J", key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert titles(stage) == FITTING, key
            assert kept == [], key


async def test_what_is_chosen_and_does_not_fit_is_named_and_choosing_none_leaves_state_and_name() -> None:
    async with dashboard(in_pods()) as stage:
        await choose(stage, "j", "j", "j", "j", "x", "j", "j", "j", "x", "enter")
        assert stage.news == "7 columns; no room here for OS, DIRECTORY"
        assert titles(stage) == FITTING
        await choose(stage)
        assert stage.text.count("[x]") == 5
        await stage.press("0")
        await choose(stage, "space", "j", "space", "j", "space", "enter")
        assert titles(stage) == ["state", "for", "beat", "name"]
        await choose(stage)
        assert "[x]" not in stage.text


async def test_zero_on_the_dashboard_resets_the_view_and_leaves_the_columns() -> None:
    async with dashboard(in_pods()) as stage:
        await choose(stage, "space", "enter")
        await group_by_pod(stage)
        await stage.press("full_stop", "2", "0")
        assert titles(stage) == ["state", "for", "beat", "name", "version", "branch"]
        assert stage.table.headers == []
        assert stage.app.dashboard.view.sort is None


async def test_columns_are_those_of_the_table_while_the_pane_covers_it() -> None:
    async with dashboard([named("ada", metadata={"gitBranch": "main"}), named("bob", metadata={})]) as stage:
        await stage.press("enter")
        assert not stage.table.display
        assert titles(stage) == FITTING
        await choose(stage)
        assert "[x] BRANCH" in stage.text
        await stage.press("escape")
        await stage.type("/main")
        assert stage.names == ["ada"]
        assert " main 1/2 " in stage.lines[0]


async def test_the_choice_is_remembered_and_taken_up_by_the_next_run() -> None:
    kept: list[dict[str, Any]] = []
    async with dashboard(in_pods(), keep=lambda **changes: kept.append(changes)) as stage:
        await choose(stage, "space", "enter")
        await choose(stage, "0")
    assert kept == [{"columns": ("state", "name", "version", "branch")}, {"columns": ()}]
    async with dashboard(in_pods(), columns=("state", "name", "branch", "pod")) as stage:
        assert titles(stage) == ["state", "for", "beat", "name", "branch", "pod"]


# The order.


async def test_the_order_is_chosen_from_the_columns_that_show_and_not_remembered() -> None:
    kept: list[dict[str, Any]] = []
    async with dashboard(in_pods(), keep=lambda **changes: kept.append(changes)) as stage:
        await stage.press("o")
        assert list(offered(stage)) == ["problems first", "STATE", "FOR", "BEAT", "NAME", "MODE", "VERSION", "BRANCH"]
        await stage.press("n", "enter")
        assert "NAME▲" in stage.titles
        assert stage.news == "sorted by NAME"
        await stage.press("I")
        assert stage.names == ["dan", "cyd", "bob", "ada"]
        assert stage.news == "sorted by NAME, inverted"
        await stage.press("o", "p", "enter")
        assert "▲" not in stage.titles
        assert stage.news == "sorted problems first"
        # A second `o` inverts the present order.
        await stage.press("o", "n", "o")
        assert stage.news == "sorted by NAME"
        await stage.press("o", "o")
        assert stage.names == ["dan", "cyd", "bob", "ada"]
        assert stage.news == "sorted by NAME, inverted"
        await stage.press("o", "o")
        assert stage.names == ["ada", "bob", "cyd", "dan"]
    assert kept == []


async def test_what_differs_from_a_baseline_is_no_column_to_sort_by() -> None:
    async with dashboard(in_pods()) as stage:
        await stage.press("m", "equals_sign", "o")
        assert list(offered(stage)) == ["problems first", "STATE", "FOR", "BEAT", "NAME"]
        await stage.press("escape")
        for title in ("STATE", "FOR", "BEAT", "NAME"):
            await stage.press("full_stop")
            assert stage.news == f"sorted by {title}"
        await stage.press("full_stop")
        assert stage.news == "sorted problems first"
        before = stage.app.dashboard.view
        await stage.pilot.click("#table", offset=(stage.titles.index("SINCE THE BASELINE"), 0))
        await stage.pilot.pause()
        assert stage.app.dashboard.view is before
        # While comparing, the column menu starts from the other view's columns.
        await choose(stage, "enter")
        assert stage.news == "5 columns"
        await stage.press("equals_sign")
        assert titles(stage) == FITTING


async def test_for_sorts_by_the_shortest_time_in_a_state_and_its_mark_fits() -> None:
    ended = off("cyd", 300, deviceId=f"{SANDBOX_DEVICE}cyd")  # in the table, because the end needs nobody
    async with dashboard([named("ada"), named("bob", connectedAt=NOW - 40_000), ended]) as stage:
        await stage.app.dashboard.run_action("sort(1)")
        await stage.app.dashboard.run_action("sort(1)")
        await stage.pilot.pause()
        assert stage.names == ["bob", "cyd", "ada"]
        assert stage.titles.startswith("  STATE   FOR▲ BEAT NAME ")
        await stage.app.dashboard.run_action("invert")
        await stage.pilot.pause()
        assert stage.names == ["ada", "cyd", "bob"]
        assert stage.titles.startswith("  STATE   FOR▼ BEAT NAME ")


async def test_a_title_as_wide_as_its_column_makes_room_for_the_mark_of_sorting() -> None:
    async with dashboard([named("ada")], columns=("state", "name", "first", "os"), sort="first") as stage:
        assert " FIRS▲ OS" in stage.titles
