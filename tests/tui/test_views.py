"""Views on the dashboard: keys, palette, status line, help, columns of metadata, the block."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import NOW, environment
from support.rewinding import BACK, is_rewound, lived
from textual.widgets import OptionList

from envwatch.tui.screens.dialogs import ColumnPicker, Menu
from envwatch.tui.widgets.status_bar import StatusBar
from envwatch.views.table.table_view import BUILT_IN_VIEWS, NamedView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

GPU = NamedView(
    name="gpu", key="V", filter="name:gpu-*", columns=("name", "meta.team"), sort="meta.rack", group="meta.team"
)
WIDE = NamedView(name="wide", columns=("name", "version"))
VIEWS = {"gpu": GPU, "wide": WIDE}


def row(name: str, /, **metadata: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, lastHeartbeat=NOW - 10_000, metadata=metadata)


ROWS = [
    row("gpu-1", team="ml", rack=10),
    row("gpu-2", team="ml", rack="9"),
    row("gpu-3", team="vision"),
    row("web-1", team="web"),
]
LOST = environment("env-lost", connectionName="lost", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 300_000)


@asynccontextmanager
async def dashboard(size: tuple[int, int] = (100, 24), **options: Any) -> AsyncIterator[Stage]:
    async with staged(size, views=VIEWS, **options) as stage:
        await stage.show([*ROWS, LOST])
        yield stage


def status(stage: Stage) -> str:
    return stage.lines_of(stage.app.dashboard.query_one(StatusBar))[0]


def titles(stage: Stage) -> list[str]:
    return stage.titles.split()


async def test_the_key_of_a_view_chooses_rows_columns_order_and_groups() -> None:
    async with dashboard() as stage:
        await stage.press("V")
        assert stage.names == ["gpu-2", "gpu-1", "gpu-3"]
        assert titles(stage) == ["STATE", "FOR", "BEAT", "NAME", "META.TEAM"]
        assert [line for line in stage.body if "meta.team" in line] == [
            "▾ meta.team ml  ● 2",
            "▾ meta.team vision  ● 1",
        ]
        assert stage.news == "view gpu"
        assert " 3/5 VIEW gpu " in status(stage)
        assert "SORT" not in status(stage)  # the name of the view says the order
        await stage.press("o", "o")
        assert " SORT meta.rack ▼ " in status(stage)


async def test_a_view_hides_no_line_of_the_block() -> None:
    async with dashboard() as stage:
        before = stage.block
        assert "lost" in "".join(before)
        await stage.press("V")
        assert stage.block[0][2:] == before[0][2:]


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (("3",), " late 0/5 VIEW gpu* "),
        (("o", "o"), " 3/5 VIEW gpu* "),
        (("b", "home", "enter"), " 3/5 VIEW gpu* "),
        (("escape",), " VIEW gpu* "),
        (("x",), " 3/5 VIEW gpu "),
        (("m", "equals_sign"), " 0/5 VIEW gpu "),
        (("3", "1"), " 3/5 VIEW gpu "),
        (("3", "V"), " 3/5 VIEW gpu "),
        (("0",), ""),
    ],
)
async def test_the_status_line_marks_a_changed_view_with_a_star(keys: tuple[str, ...], name: str) -> None:
    async with dashboard() as stage:
        await stage.press("V", *keys)
        assert name in status(stage)
        assert ("VIEW" in status(stage)) is bool(name)


async def test_another_filter_stands_beside_the_name_of_the_view() -> None:
    async with dashboard((120, 24)) as stage:
        await stage.press("V", "slash")
        await stage.type("meta.team:ml")
        await stage.press("enter")
        assert " meta.team:ml 2/5 VIEW gpu* " in status(stage)
        await stage.press("V")
        assert " 3/5 VIEW gpu " in status(stage)


async def test_the_name_yields_before_the_filters_count() -> None:
    async with dashboard((140, 24)) as stage:
        await stage.press("V", "slash")
        await stage.type("meta.team:ml,web,vision,nothing,more")
        await stage.press("enter")
        seen = []
        for width in range(140, 40, -1):
            await stage.pilot.resize_terminal(width, 24)
            await stage.turns()
            seen.append(("VIEW" in status(stage), "/5" in status(stage)))
        assert (True, True) in seen
        assert (False, True) in seen
        assert (True, False) not in seen


async def test_the_view_in_force_chosen_again_says_so() -> None:
    async with dashboard() as stage:
        await stage.press("V", "V")
        assert stage.news == "gpu: shown already; 0 shows everything again"


async def test_zero_leaves_the_view_and_brings_the_users_own_columns_back() -> None:
    async with dashboard(columns=("name", "mode")) as stage:
        await stage.press("V", "0")
        assert titles(stage) == ["STATE", "FOR", "BEAT", "NAME", "MODE"]
        assert len(stage.matching) == 5
        assert stage.news == "view reset: all environments, problems first, no groups"


async def test_columns_of_a_view_are_not_remembered_and_own_columns_are() -> None:
    kept: list[dict[str, Any]] = []
    async with dashboard(keep=lambda **values: kept.append(values)) as stage:
        await stage.press("V", "C", "space", "enter")
        assert kept == []
        assert " VIEW gpu* " in status(stage)
        await stage.press("0", "C", "space", "enter")
        assert [each.keys() for each in kept] == [{"columns"}]


@pytest.mark.parametrize("typed", ["view: gpu", "vi gp"])
async def test_the_palette_lists_each_view_with_its_key(typed: str) -> None:
    async with dashboard() as stage:
        await stage.press("colon")
        await stage.type(typed)
        (line,) = [line for line in stage.lines if "View: gpu" in line]
        assert line.rstrip(" ▏▕│").endswith("V")
        await stage.press("down", "enter")
        await stage.pilot.pause(0.1)
        assert " 3/5 VIEW gpu " in status(stage)


async def test_help_has_own_views_with_their_keys() -> None:
    async with dashboard((80, 200)) as stage:
        await stage.press("question_mark")
        lines = [line.split() for line in stage.lines]
        assert ["V", "View:", "gpu"] in lines
        assert ["palette", "View:", "wide"] in lines
        assert ["Your", "views"] in lines


async def test_a_key_of_the_users_own_table_chooses_a_view() -> None:
    async with dashboard(keymap={"view.wide": "W", "view.gpu": "f5", "find.late": "f6"}) as stage:
        await stage.press("W")
        assert " VIEW wide " in status(stage)
        assert titles(stage)[-1] == "VERSION"
        await stage.press("f5")
        assert " 3/5 VIEW gpu " in status(stage)
        await stage.press("V")
        assert stage.news == "V does nothing here: ? shows the keys"
        await stage.press("f6")
        assert " late 0/5 VIEW gpu* " in status(stage)


async def test_the_first_view_is_there_at_the_start() -> None:
    async with dashboard(view="gpu", sort="name") as stage:
        assert " 3/5 VIEW gpu " in status(stage)
        assert stage.names == ["gpu-2", "gpu-1", "gpu-3"]


@pytest.mark.parametrize("view", BUILT_IN_VIEWS.values())
async def test_built_in_views_have_no_name_in_the_status_line(view: NamedView) -> None:
    async with dashboard() as stage:
        await stage.press(view.key)
        assert "VIEW" not in status(stage)
        assert (f" {view.name} " in status(stage)) is (view.preset not in (None, "all"))


async def test_a_view_works_at_another_moment() -> None:
    async with lived(size=(120, 24), views=VIEWS) as stage:
        await stage.press(BACK, "V")
        assert is_rewound(stage)
        assert "VIEW gpu" in status(stage)


# Metadata.


def options(stage: Stage) -> list[str]:
    found = stage.app.screen.query_one(OptionList)
    return [str(found.get_option_at_index(place).prompt) for place in range(found.option_count)]


async def test_the_column_menu_offers_the_keys_of_the_fleet_with_their_rows() -> None:
    async with dashboard() as stage:
        await stage.press("C")
        assert isinstance(stage.app.screen, ColumnPicker)
        offered = options(stage)
        assert "[ ] META.team  4 rows" in offered
        assert "[ ] META.rack  2 rows" in offered
        place = offered.index("[ ] META.rack  2 rows")
        await stage.press(*["j"] * place, "space", *["K"] * place, "enter")
        assert titles(stage)[4] == "META.RACK"
        assert [line.split()[-1] for line in stage.body] != []


@pytest.mark.parametrize("key", ["o", "b"])
async def test_sorting_and_grouping_offer_the_keys_after_the_columns(key: str) -> None:
    async with dashboard() as stage:
        await stage.press(key, "m")
        menu = stage.app.screen
        assert isinstance(menu, Menu)
        assert menu._highlighted == "mode"  # noqa: SLF001  a letter goes to columns first
        await stage.press("t")
        assert menu._highlighted == "meta.team"  # noqa: SLF001
        await stage.press("enter")
        assert stage.news.startswith(f"{'sorted' if key == 'o' else 'grouped'} by META.team")
        view = stage.app.dashboard.view
        assert (view.sort if key == "o" else view.group) == "meta.team"


async def test_a_missing_value_is_a_dash() -> None:
    async with dashboard(columns=("name", "meta.rack")) as stage:
        cells = {line.split()[4]: line.split()[5] for line in stage.body if "gpu" in line or "web" in line}
        assert cells == {"gpu-1": "10", "gpu-2": "9", "gpu-3": "–", "web-1": "–"}


async def test_a_long_key_is_cut_in_ascii() -> None:
    long = row("long", **{"k" * 60: "v" * 60})
    async with staged((100, 24), ascii_only=True, columns=("name", f"meta.{'k' * 60}", "meta.none")) as stage:
        await stage.show([long])
        await stage.press("o", "m", "enter")
        assert stage.titles.isascii()
        assert status(stage).isascii()


async def test_hostile_keys_are_shown_harmlessly_everywhere() -> None:
    keys = ["x" * 500, "\x1b[31mred", 'say "hi"', "[bold]x[/]", "a.b..c", "東京" * 20, "\u202eabc", " ", "."]
    rows = [row("one", **{key: key for key in keys})]
    async with staged((80, 40)) as stage:
        await stage.show(rows)
        for menu in "C", "o", "b":
            await stage.press(menu)
            assert len([line for line in options(stage) if "META." in line]) >= len(keys)
            assert all(line.isprintable() for line in stage.lines)
            await stage.press("end", "enter")
            assert all(line.isprintable() and len(line) <= 80 for line in stage.lines)
        picked = [f"meta.{key}" for key in keys]
        for id_ in picked:
            await stage.pilot.pause()
            stage.app.dashboard.view = stage.app.dashboard.view.with_columns(("name", id_))
            await stage.turns()
            assert all(line.isprintable() for line in stage.lines)
