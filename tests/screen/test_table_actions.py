"""The keys that arrange the table: groups, folding, columns, order, and views of the user's own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.app_harness import staged
from support.builders import NOW, environment
from textual.widgets import OptionList

from envwatch.model.text import clean
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.dialogs import ColumnPicker, Menu, SortMenu
from envwatch.screen.widgets.status_bar import StatusBar
from envwatch.views.table.table_view import OLD, NamedView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

DAY = 24 * 60 * 60


def named(name: str, /, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **({"lastHeartbeat": NOW - 10_000} | changes))


def off(name: str, seconds: float, **changes: Any) -> Environment:
    return named(name, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - seconds * 1000, **changes)


def in_pods() -> list[Environment]:
    return [named("ada", podId="p-1"), named("bob", podId="p-2"), named("cyd", podId="p-1"), named("dan", podId=None)]


def in_eight_pods() -> list[Environment]:
    return [named(f"host-{n:02}", podId=f"p-{n // 10}") for n in range(80)]


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


def folds(stage: Stage) -> dict[str, bool]:
    """Return whether each group is open, by its title."""
    return {header.title: header.is_open for header in stage.table.headers}


# Groups.


async def test_b_offers_groupings_with_the_number_of_visible_groups_and_a_left_menu_changes_nothing() -> None:
    async with dashboard([*in_pods(), off("old", DAY + 1, podId="p-9")]) as stage:
        before = stage.app.dashboard.view
        for key in ("escape", "q"):
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
        await stage.press("escape", "slash", *"ada", "enter", "b")
        assert offered(stage)["POD"] == "1 group"


async def test_rows_stand_under_the_headers_of_their_groups_until_the_grouping_is_removed() -> None:
    async with dashboard([*in_pods(), off("old", DAY + 1)]) as stage:
        await group_by_pod(stage)
        assert stage.news == "grouped by POD: x folds a group, x again all"
        assert [line.split("  ")[0] for line in stage.body if "▾" in line] == ["▾ pod p-1", "▾ pod p-2", "▾ no pod"]
        assert "▾ pod p-1  ● 2" in stage.body
        assert [line.split()[4] for line in stage.body if "● on" in line] == ["ada", "cyd", "bob", "dan"]
        await stage.press("X", "b", "v", "enter")
        opened = {header.key: header.is_open for header in stage.table.headers}
        assert opened == {("group", "version", "0.34.12"): True, OLD: False}, "another grouping starts open"
        await stage.press("b")
        assert stage.app.screen.query_one(OptionList).highlighted == 4
        await stage.press("n", "enter")
        assert [header.key for header in stage.table.headers] == [OLD]
        assert stage.news == "not grouped"


async def test_x_enter_and_a_click_fold_and_open_the_group_and_x_again_all_groups() -> None:
    async with dashboard(in_pods()) as stage:
        await stage.press("x")
        assert stage.news == "nothing to fold: b groups machines"
        await group_by_pod(stage)
        await stage.press("j", "x")
        assert (stage.body[:2], stage.cursor) == (["▸ pod p-1  ● 2", "▾ pod p-2  ● 1"], "pod p-1")
        assert stage.names == ["ada", "bob", "cyd", "dan"]
        assert "fold" not in stage.news
        for key in ("enter", "x"):
            await stage.press("j", "k", key)
            assert (stage.body[0], stage.cursor) == ("▾ pod p-1  ● 2", "pod p-1"), key
            assert [line.split()[4] for line in stage.body[1:3]] == ["ada", "cyd"], key
            await stage.press("j", "k", key)
            assert list(folds(stage).values()) == [False, True, True], key
        await stage.press("x")
        assert not any(folds(stage).values()), "x again makes all groups like the group of the first x"
        await stage.press("x")
        assert all(folds(stage).values())
        place = next(y for y, line in enumerate(stage.lines) if "▾ pod p-2" in line)
        await stage.pilot.click(offset=(5, place))
        await stage.pilot.pause()
        assert ("▸ pod p-2  ● 1" in stage.body, stage.cursor) == (True, "pod p-2")
        await stage.press("g", "j", "enter")
        assert stage.app.dashboard.query_one("#detail").display, "enter on a row folds nothing"


async def test_big_x_folds_all_groups_and_folded_groups_stay_folded() -> None:
    async with dashboard(in_pods()) as stage:
        await stage.press("X")
        assert stage.news == "nothing to fold: b groups machines"
        await group_by_pod(stage)
        stage.go_to("env-bob")
        await stage.press("X")
        assert stage.news == "folded all 3 groups"
        assert ([line[0] for line in stage.body], stage.cursor) == (["▸", "▸", "▸"], "pod p-2")
        await stage.press("X")
        assert (all(folds(stage).values()), stage.cursor) == (True, "pod p-2")
        await stage.press("x", "X")  # the rest, while a group is open
        assert not any(folds(stage).values())
        stage.now = 5
        await stage.show([*in_pods(), named("eve", podId="p-3")])
        assert folds(stage) == {"pod p-1": False, "pod p-2": False, "pod p-3": True, "no pod": False}


async def test_a_group_keeps_its_header_in_place() -> None:
    async with dashboard(in_eight_pods()) as stage:

        def line_of(text: str) -> int:
            return next(y for y, line in enumerate(stage.lines) if text in line)

        await stage.press("j", "k", "b", "p", "enter")
        assert stage.cursor == "host-00"
        assert stage.body[0].startswith("▾ pod p-0")
        await stage.press("g", *["j"] * 24)
        assert stage.cursor == "host-21"
        y = line_of("▾ pod p-2")
        await stage.press("x")
        assert (line_of("▸ pod p-2"), stage.cursor) == (y, "pod p-2")


async def test_a_group_opened_below_the_edge_of_the_screen_scrolls_into_view() -> None:
    rows = [*(named(f"row-{n:02}") for n in range(30)), *(off(f"old-{n}", DAY) for n in range(3))]
    async with dashboard(rows) as stage:
        await stage.press("G", "x")
        assert [line.split()[-4] for line in stage.body[-3:]] == ["old-0", "old-1", "old-2"]


async def test_the_pane_shows_the_group_under_the_cursor() -> None:
    async with dashboard([named("up"), *(off(f"old-{n}", DAY) for n in range(6))], (120, 20)) as stage:
        await stage.press("G")
        assert "6 machines" in "\n".join(line[74:] for line in stage.lines)


async def test_rows_offline_for_a_day_are_folded_until_a_key_opens_their_group() -> None:
    async with dashboard([named("ada"), off("old", DAY)]) as stage:
        assert (stage.body[-1], stage.cursor) == ("▸ off for over 24 h  ○ 1", "ada")
        for keys in (("X",), ("G", "enter")):
            await stage.press(*keys)
            assert stage.body[-2] == "▾ off for over 24 h  ○ 1", keys
            assert stage.body[-1].split()[:5] == ["○", "off", "1d", "–", "old"], keys
            await stage.press(*keys[-1:])
            assert stage.body[-1] == "▸ off for over 24 h  ○ 1", keys
        await stage.press("2")  # a filter finds folded rows
        assert [line.split()[4] for line in stage.body] == ["old"]


async def test_profiles_can_be_grouped_and_their_column_moves_and_stays() -> None:
    work, home = clean("work"), clean("home")
    async with staged(profiles=(work, home)) as stage:
        await stage.show([named("ada")], work)
        await stage.show([named("bob")], home)
        await stage.press("b")
        assert offered(stage)["PROFILE"] == "2 groups"
        await stage.press("p", "enter")
        assert [line.split("  ")[0] for line in stage.body if "▾" in line] == ["▾ profile work", "▾ profile home"]
        await stage.press("0")
        assert titles(stage)[4] == "profile"
        await stage.press("C", "J", "enter")
        assert titles(stage)[4:6] == ["mode", "profile"]
        await stage.press("C", "j", "space", "enter")
        assert "profile" in titles(stage)


# Columns.


def titles(stage: Stage) -> list[str]:
    return [column.id for column, _ in stage.table.columns]


FITTING = ["state", "for", "beat", "name", "mode", "version", "branch"]


async def test_columns_can_be_hidden_shown_ordered_and_remembered_and_zero_goes_back() -> None:
    kept: list[dict[str, Any]] = []
    async with dashboard(in_pods(), keep=lambda **changes: kept.append(changes)) as stage:
        for key in ("escape", "q", "C"):
            await stage.press("C")
            assert isinstance(stage.app.screen, ColumnPicker), key
            assert "[x] MODE        permission mode" in stage.text, key
            assert "[ ] UP          time since the connection" in stage.text, key
            assert "PROFILE" not in stage.text, key
            await stage.press("space")
            assert "[ ] MODE" in stage.text, key
            await stage.press("J", key)
            assert isinstance(stage.app.screen, Dashboard), key
        assert (titles(stage), kept) == (FITTING, [])
        for keys, columns, news in (
            (("space", "j", "j", "K", "enter"), ["branch", "version"], "4 columns"),
            ((*"jjjj", "x", "enter"), ["branch", "version", "os"], "5 columns"),
            (("0",), FITTING[4:], "columns: as many as fit"),
            (("K", "J", "J", "J", "shift+up", "shift+down", "enter"), ["version", "branch", "mode"], "5 columns"),
            (("end", "J", "J", "enter"), ["version", "branch", "mode"], "5 columns"),
        ):
            await stage.press("C", *keys)
            assert (titles(stage), stage.news) == ([*FITTING[:4], *columns], news)
            assert stage.titles.split() == [title.upper() for title in titles(stage)]
        assert kept[:3] == [
            {"columns": ("state", "name", "branch", "version")},
            {"columns": ("state", "name", "branch", "version", "os")},
            {"columns": ()},
        ]


async def test_a_chosen_column_without_room_is_named_and_no_choice_leaves_state_and_name() -> None:
    async with dashboard(in_pods()) as stage:
        await stage.press("C", *"jjjjx", *"jjjx", "enter")
        assert stage.news == "7 columns; no room here for OS, DIRECTORY"
        assert titles(stage) == FITTING
        await stage.press("C")
        assert stage.text.count("[x]") == 5
        await stage.press("0", "C", "space", "j", "space", "j", "space", "enter")
        assert titles(stage) == FITTING[:4]
        await stage.press("C")
        assert "[x]" not in stage.text


async def test_columns_belong_to_the_table_also_below_the_pane() -> None:
    async with dashboard([named("ada", metadata={"gitBranch": "main"}), named("bob", metadata={})]) as stage:
        await stage.press("enter")
        assert not stage.table.display
        assert titles(stage) == FITTING
        await stage.press("C")
        assert "[x] BRANCH" in stage.text
        await stage.press("escape")
        await stage.type("/main")
        assert stage.names == ["ada"]
        assert " main 1/2 " in stage.lines[0]


# The order.


async def test_the_order_is_chosen_from_the_visible_columns_and_not_remembered() -> None:
    kept: list[dict[str, Any]] = []
    late = named("zoe", lastHeartbeat=NOW - 60_000)
    async with dashboard([late, *in_pods()], keep=lambda **changes: kept.append(changes)) as stage:
        for keys in (("o", "o"), ("I",)):
            await stage.press(*keys)
            assert stage.news == "sorted losses first: this order cannot be inverted"
            assert stage.names[:2] == ["zoe", "ada"]
        await stage.press("o")
        assert list(offered(stage)) == ["losses first", "STATE", "FOR", "BEAT", "NAME", "MODE", "VERSION", "BRANCH"]
        await stage.press("n", "enter")
        assert ("NAME▲" in stage.titles, stage.news) == (True, "sorted by NAME")
        await stage.press("I")
        assert stage.names == ["zoe", "dan", "cyd", "bob", "ada"]
        assert stage.news == "sorted by NAME, inverted"
        await stage.press("o", "o")
        assert (stage.names[0], stage.news) == ("ada", "sorted by NAME")
        await stage.press("o", "l", "enter")
        assert ("▲" in stage.titles, stage.news) == (False, "sorted losses first")
        for news in ("sorted by NAME", "sorted by NAME, inverted", "sorted by NAME"):
            await stage.pilot.click("#table", offset=(stage.titles.index("NAME"), 0))
            assert stage.news == news
    assert kept == []


async def test_a_comparison_has_no_column_of_differences_to_sort_by() -> None:
    async with dashboard(in_pods()) as stage:
        await stage.press("m", "equals_sign", "o")
        assert list(offered(stage)) == ["losses first", "STATE", "FOR", "BEAT", "NAME"]
        await stage.press("escape")
        for title in ("STATE", "FOR", "BEAT", "NAME"):
            await stage.press("full_stop")
            assert stage.news == f"sorted by {title}"
        await stage.press("full_stop")
        assert stage.news == "sorted losses first"
        before = stage.app.dashboard.view
        await stage.pilot.click("#table", offset=(stage.titles.index("SINCE THE BASELINE"), 0))
        await stage.pilot.pause()
        assert stage.app.dashboard.view is before
        await stage.press("C", "enter")  # the columns of the view without the comparison
        assert stage.news == "5 columns"
        await stage.press("equals_sign")
        assert titles(stage) == FITTING


async def test_j_and_k_move_in_a_menu_whatever_its_choices_begin_with() -> None:
    wishes: dict[str, Any] = {"columns": ("state", "name", "first", "owner"), "sort": "first"}
    async with dashboard([named("ada")], **wishes) as stage:
        assert " FIRST▲KEY OWNER" in stage.titles, "the mark takes the blank behind a title as wide as its column"
        await stage.press("o")
        options = stage.app.screen.query_one(OptionList)
        assert "KEY OWNER" in offered(stage)
        before = options.highlighted
        assert before is not None
        await stage.press("k", "k")
        assert options.highlighted == before - 2
        await stage.press("j")
        assert options.highlighted == before - 1


# Views.

GPU = NamedView(
    name="gpu", key="V", filter="name:gpu-*", columns=("name", "meta.team"), sort="meta.rack", group="meta.team"
)
WIDE = NamedView(name="wide", columns=("name", "version"))


def row(name: str, /, **metadata: Any) -> Environment:
    return named(name, metadata=metadata)


@asynccontextmanager
async def with_views(size: tuple[int, int] = (100, 24), **wishes: Any) -> AsyncIterator[Stage]:
    machines = [
        row("gpu-1", team="ml", rack=10),
        row("gpu-2", team="ml", rack="9"),
        row("gpu-3", team="vision"),
        row("web-1", team="web"),
        off("lost", 300),
    ]
    async with dashboard(machines, size, views={"gpu": GPU, "wide": WIDE}, **wishes) as stage:
        yield stage


def status(stage: Stage) -> str:
    return stage.lines_of(stage.app.dashboard.query_one(StatusBar))[0]


async def test_the_key_of_a_view_chooses_rows_columns_order_and_groups_and_zero_leaves_the_view() -> None:
    async with with_views((120, 24), columns=("name", "mode")) as stage:
        await stage.press("escape")  # closes the pane
        before = stage.block
        assert "lost" in "".join(before)
        await stage.press("3")
        assert (" paging " in status(stage), "VIEW" in status(stage)) == (True, False), "a built-in view has no name"
        await stage.press("V")
        assert stage.names == ["gpu-2", "gpu-1", "gpu-3"]
        assert stage.titles.split() == ["STATE", "FOR", "BEAT", "NAME", "META.TEAM"]
        assert [line for line in stage.body if "meta.team" in line] == [
            "▾ meta.team ml  ● 2",
            "▾ meta.team vision  ● 1",
        ]
        assert stage.news == "view gpu"
        assert stage.block[0][2:] == before[0][2:], "a view hides no line of the block"
        assert " 3/5 VIEW gpu " in status(stage)
        assert "SORT" not in status(stage), "the name of the view says the order"
        await stage.press("V")
        assert stage.news == "gpu: shown already; 0 shows everything again"
        for keys, name in (
            (("o", "o"), " SORT meta.rack ▼ "),
            (("V", "3"), " paging 0/5 VIEW gpu* "),
            (("1",), " 3/5 VIEW gpu "),
            (("x",), " 3/5 VIEW gpu "),
            (("slash", *"vision", "enter"), " vision 1/5 VIEW gpu* "),
        ):
            await stage.press(*keys)
            assert name in status(stage), keys
        await stage.press("0")
        assert "VIEW" not in status(stage)
        assert stage.titles.split() == ["STATE", "FOR", "BEAT", "NAME", "MODE"]
        assert len(stage.matching) == 5
        assert stage.news == "view reset: all machines, losses first, no groups; 0 again undoes it"


async def test_zero_undoes_the_reset_before_it() -> None:
    async with with_views((120, 24)) as stage:
        await stage.press("0")
        assert stage.news == "nothing to reset: all machines, losses first, no groups"
        await stage.press("2", "b", "p", "enter", "slash", *"gpu", "enter")
        before = stage.app.dashboard.view
        await stage.press("0")
        assert not stage.app.dashboard.view.is_narrowed
        await stage.press("0")
        assert stage.app.dashboard.view == before
        assert stage.news == "as before the reset"
        await stage.press("0", "0")
        assert stage.app.dashboard.view == before


async def test_the_name_of_a_view_yields_before_the_count_of_the_filter() -> None:
    async with with_views((140, 24)) as stage:
        await stage.press("V", "slash")
        await stage.type("meta.team:ml,web,vision,nothing,more")
        await stage.press("enter")
        seen = []
        for width in range(140, 40, -9):
            await stage.pilot.resize_terminal(width, 24)
            await stage.turns()
            seen.append(("VIEW" in status(stage), "/5" in status(stage)))
        assert {(True, True), (False, True)} <= set(seen)
        assert (True, False) not in seen


async def test_columns_within_a_view_are_not_remembered_and_own_columns_are() -> None:
    kept: list[dict[str, Any]] = []
    async with with_views(keep=lambda **values: kept.append(values)) as stage:
        await stage.press("V", "C", "space", "enter")
        assert kept == []
        assert " VIEW gpu* " in status(stage)
        await stage.press("0", "C", "space", "enter")
        assert [each.keys() for each in kept] == [{"columns"}]


async def test_palette_and_help_list_each_view_with_its_key() -> None:
    async with with_views((80, 200)) as stage:
        await stage.press("question_mark")
        lines = [line.split() for line in stage.lines]
        assert ["Your", "views"] in lines
        assert ["V", "View:", "gpu"] in lines
        assert ["palette", "View:", "wide"] in lines
        await stage.press("q", "colon")
        await stage.type("vi gp")
        (line,) = [line for line in stage.lines if "View: gpu" in line]
        assert line.rstrip(" ▏▕│").endswith("V")
        await stage.press("down", "enter")
        await stage.pilot.pause(0.1)
        assert "VIEW gpu " in status(stage)


async def test_the_first_view_is_there_at_the_start_and_the_keys_are_the_users_own() -> None:
    keys = {"view.wide": "W", "view.gpu": "f5", "find.off": "f6"}
    async with with_views(view="gpu", sort="name", keymap=keys) as stage:
        assert " 3/5 VIEW gpu " in status(stage)
        assert stage.names == ["gpu-2", "gpu-1", "gpu-3"]
        await stage.press("W")
        assert " VIEW wide " in status(stage)
        assert stage.titles.split()[-1] == "VERSION"
        await stage.press("f5", "V")
        assert stage.news == "V does nothing here: ? shows the keys"
        await stage.press("f6")
        assert " off 0/5 VIEW gpu* " in status(stage)


# Columns of metadata.


def options(stage: Stage) -> list[str]:
    found = stage.app.screen.query_one(OptionList)
    return [str(found.get_option_at_index(place).prompt) for place in range(found.option_count)]


async def test_columns_order_and_groups_offer_the_keys_of_the_metadata() -> None:
    async with with_views() as stage:
        await stage.press("C")
        offered = options(stage)
        assert "[ ] META.team  4 machines" in offered
        place = offered.index("[ ] META.rack  2 machines")
        await stage.press(*["j"] * place, "space", *["K"] * place, "enter")
        assert stage.titles.split()[4] == "META.RACK"
        for key, verb in (("o", "sorted"), ("b", "grouped")):
            await stage.press(key, "m")
            menu = stage.app.screen
            assert isinstance(menu, Menu)
            assert menu._highlighted == "mode"  # noqa: SLF001  a letter goes to columns first
            await stage.press("t")
            assert menu._highlighted == "meta.team"  # noqa: SLF001
            await stage.press("enter")
            assert stage.news.startswith(f"{verb} by META.team")
        view = stage.app.dashboard.view
        assert (view.sort, view.group) == ("meta.team", "meta.team")


async def test_hostile_keys_are_shown_harmlessly_everywhere() -> None:
    keys = ["x" * 500, "\x1b[31mred", 'say "hi"', "[bold]x[/]", "a.b..c", "東京" * 20, "\u202eabc", " ", "."]
    async with dashboard([row("one", **dict.fromkeys(keys, "value"))], (80, 40)) as stage:
        for menu in "C", "o", "b":
            await stage.press(menu)
            assert len([line for line in options(stage) if "META." in line]) >= len(keys)
            assert all(line.isprintable() for line in stage.lines)
            await stage.press("end", "enter")
            assert all(line.isprintable() and len(line) <= 80 for line in stage.lines)
        for key in keys:
            stage.app.dashboard.view = stage.app.dashboard.view.with_columns(("name", f"meta.{key}"))
            await stage.turns()
            assert all(line.isprintable() for line in stage.lines)
