"""Every key is in the help, is unique, has an effect, and never ends the program."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.app_harness import staged
from support.builders import beating, environment
from support.own_keys import OWN_KEYS
from support.rewinding import lived, until
from textual.binding import Binding
from textual.command import CommandList
from textual.dom import DOMNode
from textual.screen import ModalScreen

from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.tui.app import EnvwatchApp
from envwatch.tui.keymap import binding_ids, binding_scopes
from envwatch.tui.screens.command_palette import Commands, Palette
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.dialogs import ColumnPicker, CopyMenu, Menu, Prompt, SortMenu
from envwatch.tui.screens.event_log import EventLogScreen
from envwatch.tui.screens.help import FIRST_FILTERS, FIRST_KEYS, SECTIONS, HelpScreen, help_sections
from envwatch.tui.screens.plain_text import HandoverScreen, PlainText
from envwatch.tui.state import UNICODE
from envwatch.tui.widgets.detail_pane import DetailPane
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.tui.widgets.filter_bar import FilterBar
from envwatch.tui.widgets.footer import has_key
from envwatch.views.pane.legend import LIVE, STATUS_ENTRIES, hour_entries, rule_entries, state_entries, tag_entries
from envwatch.views.table.block import Aside

if TYPE_CHECKING:
    from support.app_harness import Stage

    from envwatch.model.environment import Environment
    from envwatch.views.table.table_view import View

NODES: Final[tuple[type[DOMNode], ...]] = (EnvironmentTable, DetailPane, FilterBar, Dashboard, EnvwatchApp)


def declared(*nodes: type[DOMNode]) -> list[Binding]:
    """Return every binding of the classes and of envwatch's base classes, once for all keys."""
    ours = dict.fromkeys(base for node in nodes for base in node.__mro__ if base.__module__.startswith("envwatch."))
    bindings = [binding for base in ours for binding in vars(base).get("BINDINGS", ())]
    assert all(isinstance(binding, Binding) for binding in bindings)
    return bindings


def keys_of(binding: Binding) -> list[str]:
    return [each.key for each in Binding.make_bindings([binding])]


ALL: Final = declared(*NODES)
EVERYWHERE: Final = declared(*dict.fromkeys(node for nodes in binding_scopes() for node in nodes))
IDS: Final = {binding.id: binding for binding in ALL if binding.id}

LEAVES: Final = {"app.quit", "app.interrupt", "app.suspend"}
"""Keys that end or stop the program, tested in `test_app`, `test_lifecycle` and `test_suspend`."""


def problems_and_old(at: float) -> list[Environment]:
    """Return forty rows of every presence, some in pods, one offline for days."""
    return [
        *beating(34, at, metadata={"gitBranch": "main", **{f"more{n}": n for n in range(20)}}),
        *(environment(f"late-{n}", lastHeartbeat=at - 60_000, podId=f"p-{n}") for n in range(3)),
        *(environment(f"off-{n}", connectionId=None, lastHeartbeat=None, lastSeenAt=at - 300_000) for n in range(2)),
        environment("old-1", connectionId=None, lastHeartbeat=None, lastSeenAt=at - 200_000_000),
    ]


async def settle(stage: Stage) -> None:
    await stage.pilot.wait_for_scheduled_animations()
    await stage.pilot.pause()


def test_every_binding_of_every_screen_and_dialog_has_an_id_of_its_own_and_a_description() -> None:
    assert all(binding.id and binding.description for binding in EVERYWHERE)
    counts = Counter(binding.id for binding in dict.fromkeys(EVERYWHERE))
    assert [id_ for id_, count in counts.items() if count > 1] == ["app.help"]  # the app's key, and the screens' key
    assert {binding.id for binding in EVERYWHERE} == set(binding_ids())
    assert {id_.partition(".")[0] for id_ in IDS} == SECTIONS.keys() - {"command", "view"}  # the user's own


def test_every_screen_and_widget_with_bindings_is_known_to_the_keymap() -> None:
    def subclasses(node: type[DOMNode]) -> set[type[DOMNode]]:
        return {node}.union(*(subclasses(each) for each in node.__subclasses__()))

    binding = {
        node for node in subclasses(DOMNode) if node.__module__.startswith("envwatch.") and vars(node).get("BINDINGS")
    }
    known = {base for nodes in binding_scopes() for node in nodes for base in node.__mro__}
    assert binding - known == set()


def test_the_table_has_at_most_32_keys_by_default_and_6_of_the_time_machine() -> None:
    """A binding with several keys counts once, as do the digits for parts of the fleet. ctrl+c and ctrl+z do not."""
    bound = [binding for binding in declared(EnvironmentTable, Dashboard, EnvwatchApp) if has_key(binding)]
    kinds = {"view" if binding.action.startswith("view(") else binding.id for binding in bound}
    history = {binding.id for binding in bound if (binding.id or "").startswith("history.")}
    assert len(kinds - history - {"app.interrupt", "app.suspend"}) <= 32
    keys = {key for binding in bound for key in keys_of(binding)}
    assert not keys & set(OWN_KEYS.values())
    assert len({key for binding in bound if binding.id in history for key in keys_of(binding)}) == 6


@pytest.mark.parametrize(
    ("focused", "intended"),
    [
        (EnvironmentTable, {}),
        (DetailPane, {}),
        (FilterBar, {"enter": {"find.keep", "row.open"}, "escape": {"find.cancel", "app.back"}}),
    ],
)
def test_no_key_has_two_meanings_at_the_same_time(focused: type[DOMNode], intended: dict[str, set[str]]) -> None:
    holders: dict[str, set[str]] = defaultdict(set)
    for binding in declared(focused, Dashboard, EnvwatchApp):
        for key in keys_of(binding):
            holders[key].add(binding.id or "")
    assert {key: ids for key, ids in holders.items() if len(ids) > 1} == intended


def test_no_key_is_one_of_screen_or_tmux() -> None:
    assert not {key for binding in ALL for key in keys_of(binding)} & {"ctrl+a", "ctrl+b"}


def top(stage: Stage) -> type[DOMNode]:
    return type(stage.app.screen)


async def test_the_keymap_reaches_dialogs_and_the_event_log() -> None:
    async with staged(keymap={"log.close": "z", "menu.close": "w", "app.help": "f5"}) as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("e", "f5")
        assert top(stage) is HelpScreen
        await stage.press("escape", "q")
        assert top(stage) is EventLogScreen
        await stage.press("z")
        assert top(stage) is Dashboard
        await stage.press("o", "w")
        assert top(stage) is Dashboard


@pytest.mark.parametrize(
    "size", [(80, 24), *(pytest.param(size, marks=pytest.mark.slow) for size in ((120, 24), (80, 40)))], ids=str
)
async def test_q_closes_layers_and_quits_only_on_the_table(size: tuple[int, int]) -> None:
    async with staged(size) as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("j", "enter", "enter")  # an environment: an incident of several has no explanation
        detail = stage.app.dashboard.query_one(DetailPane)
        assert detail.has_focus
        for opener in ("e", "?", "o", "y", "C", "E"):
            await stage.press(opener if opener != "?" else "question_mark", "q")
            assert isinstance(stage.app.screen, Dashboard), opener
            assert detail.has_focus
        await stage.press("q")
        assert stage.table.has_focus
        assert stage.app.is_running
        await stage.press("q")
        assert stage.app.return_code == 0


async def begin_again(stage: Stage, view: View) -> None:
    app, dashboard = stage.app, stage.app.dashboard
    while len(app.screen_stack) > 1:
        await stage.press("escape")
    if dashboard.query_one(FilterBar).display:
        await stage.press("escape")
    if stage.poller.schedule.is_paused:
        await stage.press("p")
    dashboard.query_one(DetailPane).scroll_home(animate=False)
    dashboard.view, dashboard.wants_detail, dashboard.marked = view, None, frozenset()
    dashboard.table.release_cursor()
    app.answer("")
    await settle(stage)


OVER: Final = {
    HelpScreen: "question_mark",
    EventLogScreen: "e",
    Palette: "colon",
    Menu: "M",
    SortMenu: "o",
    CopyMenu: "y",
    ColumnPicker: "C",
    Prompt: "a",
    PlainText: "y space",
    HandoverScreen: "colon h a n d o v e r enter enter",
}
"""The keys that open each screen over the dashboard."""


def is_open(stage: Stage, screen: type) -> bool:
    return type(stage.app.screen) is screen


async def test_every_screen_over_the_dashboard_leaves_status_line_and_newest_loss_visible() -> None:
    screens = {node for nodes in binding_scopes() for node in nodes if issubclass(node, ModalScreen)}
    assert OVER.keys() == screens
    async with lived() as stage:
        stage.now += 5
        await stage.show(problems_and_old(stage.at))
        for screen, keys in OVER.items():
            *first, last = keys.split()
            await stage.press(*first)
            if screen is HandoverScreen:  # the palette and the menu come when a busy machine gets to them
                await until(stage, partial(is_open, stage, Menu))
            await stage.press(last)
            await until(stage, partial(is_open, stage, screen))
            assert type(stage.app.screen).__name__ == screen.__name__
            assert re.match(" default .* off .*live ", stage.lines[0]), screen
            assert re.match("▌.○ .*off .* NEW .*off-[01]", stage.lines[1]), screen
            while not isinstance(stage.app.screen, Dashboard):
                await stage.press("escape")


async def test_a_key_that_can_do_nothing_now_says_so() -> None:
    async with staged() as stage:
        await stage.show(beating(3, stage.at))
        view, start = stage.app.dashboard.view, stage.lines
        for keys in (("escape",), ("enter", "enter", "enter"), ("1",), ("x",), ("equals_sign",), ("n",)):
            before = stage.news
            await stage.press(*keys)
            assert stage.news not in {before, ""}, keys
            await begin_again(stage, view)
            assert stage.lines == start, keys


async def test_the_first_page_of_the_help_has_legend_ten_keys_and_three_filters_at_80x24() -> None:
    async with staged(keymap={"find.filter": "f"}) as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("question_mark")
        legend = (
            *state_entries(Limits(), ascii_only=False),
            *tag_entries(),
            LIVE,
            *STATUS_ENTRIES,
            *rule_entries(),
            *hour_entries(ascii_only=False),
        )
        for sign, _, meaning in legend:
            assert re.search(rf" {re.escape(sign)} +{re.escape(meaning)}", stage.text), sign
        glyphs = UNICODE
        for mark in (glyphs.lost, glyphs.returned, glyphs.behind, glyphs.acknowledged, glyphs.silenced, glyphs.marked):
            assert f" {mark} " in stage.text
        assert " FOR  time in this state" in stage.text
        assert " BEAT age of the heartbeat" in stage.text
        assert {entry.sign for entry in rule_entries()} == set(Aside)
        badges = {"STALE", "BLIND", "KEY REFUSED", "HOLD", "STALLED", "DATE", "NONE ON"}
        assert badges <= {entry.sign for entry in STATUS_ENTRIES}
        assert len(FIRST_KEYS) == 10
        assert all(text in stage.text for text in FIRST_KEYS.values())
        assert re.search(" f +filter", stage.text)  # the user-defined key
        assert len(FIRST_FILTERS) == 3
        assert all(f" {example} " in stage.text for example in FIRST_FILTERS)


@pytest.mark.parametrize(("width", "columns"), [(99, 1), (100, 2)])
async def test_the_help_has_two_columns_from_100_cells(width: int, columns: int) -> None:
    async with staged((width, 120)) as stage:
        await stage.press("question_mark")
        titles = [line for line in stage.lines if re.match(r" (Move|Find) ", line)]
        beside = [line for line in stage.lines if re.search(r"^ .*\S +(Polling|Everywhere) *$", line)]
        assert titles
        assert bool(beside) is (columns == 2)


async def test_no_part_of_the_help_has_a_key_or_a_text_twice() -> None:
    async with staged() as stage:
        for title, entries in help_sections((*stage.app.dashboard.nodes_with_keys, stage.app)).items():
            counts = Counter(each for entry in entries for each in (*entry.keys, entry.text))
            twice = {each for each, count in counts.items() if count > 1}
            assert twice <= {"⏎", "esc"}, title  # of the filter and of the table


async def test_the_help_on_a_dialog_shows_its_keys_before_all_others() -> None:
    async with staged((80, 120)) as stage:
        await stage.press("C", "question_mark")
        text = stage.text
        assert text.index(" Here") < text.index("Show or hide") < text.index(" Move")


async def test_help_shows_every_binding_once_with_all_of_its_keys() -> None:
    async with staged((80, 140), keymap={}) as stage:
        await stage.press("question_mark")
        assert isinstance(stage.app.screen, HelpScreen)
        nodes = (*stage.app.dashboard.nodes_with_keys, stage.app)
        entries_found = [entry for entries in help_sections(nodes).values() for entry in entries]
        assert sorted(entry.id for entry in entries_found) == sorted(IDS)
        for entry in entries_found:
            keys = {*map(stage.app.get_key_display, Binding.make_bindings([IDS[entry.id]]))} - {""}
            assert len(entry.keys) == len(keys)
            assert f"{' '.join(entry.keys) or 'palette':<15}{entry.text}" in stage.text


NOT_OFFERED: Final = {"app.palette", "app.interrupt"}
"""The palette key, and ctrl+c, which quits like `q`."""


async def offered(stage: Stage) -> dict[str, str]:
    hits = [hit async for hit in Commands(stage.app.screen).discover()]
    return {hit.text or "": str(hit.prompt).removeprefix(hit.text or "").strip() for hit in hits}


async def test_the_palette_offers_what_works_now_with_its_key() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        for key, node in (("2", EnvironmentTable), ("enter", DetailPane)):
            await stage.press(key)
            titles = await offered(stage)
            for binding in declared(node, Dashboard, EnvwatchApp):
                assert (binding.description in titles) is (binding.id not in NOT_OFFERED), (binding.id, node)
            assert titles["Reset the view except the columns"] == "0", node


async def test_in_the_filter_bar_the_palette_offers_its_keys_and_none_that_is_typed() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("slash")
        titles = await offered(stage)
        assert {binding.description for binding in declared(FilterBar)} < set(titles)
        typed = {binding.description for binding in ALL if len(keys_of(binding)[0]) == 1}
        assert typed & set(titles) == set()


async def test_the_palette_finds_profiles_and_says_how_to_watch_others() -> None:
    async with staged((100, 24), profiles=(clean("lab one"), clean("work"))) as stage:
        for profile in (clean("lab one"), clean("work")):
            await stage.show(beating(2, stage.at), profile)
        found = {str(hit.text): str(hit.prompt) async for hit in Commands(stage.app.screen).search("profile")}
        assert found.keys() == {"Profile lab one only", "Profile work only", "Another profile …"}
        assert found["Profile work only"].rstrip().endswith(" filter profile:work")
        await stage.type(":prof")
        await stage.press("enter")
        await settle(stage)
        assert ' profile:"lab one" 2/4 ' in stage.lines[0]
        assert {tracked.profile for tracked in stage.table.rows} == {"lab one"}
        await stage.type(":another")
        await stage.press("enter")
        assert stage.news == "another profile: start envwatch with --profile NAME, or --profile NAME,NAME"


async def test_the_palette_offers_cursor_keys_last() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        titles = list(await offered(stage))
        assert titles[0] == "Filter"
        last = {binding.description for id_, binding in IDS.items() if id_.startswith("move.")}
        moves = [title for title in titles if title in last]
        assert titles.index(moves[0]) > titles.index("Quit")


async def test_a_name_that_begins_as_typed_comes_before_commands_that_only_hold_the_letters() -> None:
    async with staged() as stage:
        rows = [environment(f"env-{n}", connectionName=f"my-sofa-{n}") for n in range(60)]
        await stage.show([*rows, environment("env-x", connectionName="sofia")])
        hits = [hit async for hit in Commands(stage.app.screen).search("sof")]
        ranked = [str(hit.text) for hit in sorted(hits, key=lambda hit: hit.score, reverse=True)]
        assert ranked[0] == "sofia"
        assert "Show offline" in ranked
        hits = [hit async for hit in Commands(stage.app.screen).search("show of")]
        assert max(hits, key=lambda hit: hit.score).text == "Show offline"


async def test_nothing_that_comes_from_outside_is_markup_in_the_palette() -> None:
    evil = "[link=javascript:x]my-box[/link][/]"
    profile = clean(evil)
    async with staged((200, 24), profiles=(profile, clean("other"))) as stage:
        await stage.show([environment(evil, connectionName=evil)], profile)
        await stage.press("colon")
        await stage.type("my-box")
        listed = stage.app.screen.query_one(CommandList)
        async with asyncio.timeout(30):
            while not any(f"{evil}  {evil}  {evil}" in str(option.prompt) for option in listed.options):
                await stage.pilot.pause()


async def test_the_palette_finds_each_action_by_its_description() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        provider = Commands(stage.app.screen)
        for title in await offered(stage):
            assert title in [hit.text async for hit in provider.search(title.casefold())]
        for key in ("colon", "ctrl+p"):
            await stage.press(key)
            assert "Search for commands" in stage.text, key
            await stage.press("escape")
            assert "Search for commands" not in stage.text, key


ACTS: Final[dict[str, tuple[str, ...]]] = {
    "move.down": (),
    "move.up": ("G",),
    "move.top": ("G",),
    "move.bottom": (),
    "move.page_down": (),
    "move.page_up": ("G",),
    "move.pane_down": ("enter",),
    "move.pane_up": ("enter", "G"),
    "move.pane_top": ("enter", "G"),
    "move.pane_bottom": ("enter",),
    "move.pane_page_down": ("enter",),
    "move.pane_page_up": ("enter", "G"),
    "find.filter": (),
    "find.complete": ("slash", "m", "o"),
    "find.keep": ("slash", "m", "o"),
    "find.cancel": ("slash", "m", "o"),
    "find.next_problem": (),
    "find.previous_problem": (),
    "find.all": ("2",),
    "find.online": (),
    "find.late": (),
    "find.offline": (),
    "find.flapping": (),
    "find.changed": (),
    "find.reset": ("2",),
    "sort.pick": (),
    "sort.columns": (),
    "sort.group": (),
    "sort.fold": (),
    "baseline.mark": (),
    "baseline.compare": ("m",),
    "row.acknowledge": (),
    "row.silence": (),
    "row.alerts": (),
    "row.mark": (),
    "row.copy_name": (),
    "row.copy": (),
    "row.open": (),
    "row.explain": (),
    "history.back": (),
    "history.forward": (),
    "history.event_back": (),
    "history.event_forward": (),
    "history.time": (),
    "history.live": (),
    "poll.pause": (),
    "poll.now": (),
    "app.back": ("2",),
    "app.events": (),
    "app.export": (),
    "app.help": (),
    "app.interrupt": (),
    "app.palette": (),
    "app.quit": (),
}
"""For each binding, the keys to a state where the binding has an effect."""


def test_every_binding_is_tried() -> None:
    assert set(ACTS) == {id_ for id_, binding in IDS.items() if has_key(binding)} - {"app.suspend"}


def state(stage: Stage) -> tuple[Any, ...]:
    app = stage.app
    return (
        stage.lines,
        [type(screen) for screen in app.screen_stack],
        app.return_code,
        app.options,
        tuple(app.sent),
        stage.poller.schedule,
        stage.poller.interval,
    )


async def is_seen(stage: Stage, id_: str) -> bool:
    await stage.press(*ACTS[id_])
    await settle(stage)
    was = state(stage)
    await stage.press(keys_of(IDS[id_])[0])
    if stage.app.is_running:
        await settle(stage)
    return state(stage) != was


async def test_every_key_does_something_that_can_be_seen() -> None:
    async with staged((80, 16)) as stage:
        await stage.show(problems_and_old(stage.at))
        view, start = stage.app.dashboard.view, stage.lines
        for id_ in (id_ for id_ in ACTS if id_ not in LEAVES):
            assert await is_seen(stage, id_), id_
            await begin_again(stage, view)
            assert stage.lines == start, id_


@pytest.mark.parametrize("id_", sorted(LEAVES & ACTS.keys()))
async def test_every_key_that_ends_the_program_does(id_: str) -> None:
    async with staged((80, 16)) as stage:
        await stage.show(problems_and_old(stage.at))
        assert await is_seen(stage, id_)
        assert not stage.app.is_running


KEYS: Final = [keys_of(binding)[0] for binding in ALL if binding.id not in LEAVES]
"""One key of each binding; the remaining keys do the same."""


async def press_every_key(stage: Stage, *before: str) -> None:
    dashboard = stage.app.dashboard
    view = dashboard.view
    for key in dict.fromkeys(KEYS):
        await stage.press(*before, key)
        assert stage.app.is_running, key
        while len(stage.app.screen_stack) > 1:
            await stage.press("escape")
        if dashboard.query_one(FilterBar).display or dashboard.query_one(DetailPane).has_focus:
            await stage.press("escape")
        dashboard.view, dashboard.wants_detail = view, None


@pytest.mark.slow
async def test_every_key_before_the_first_listing() -> None:
    async with staged() as stage:
        await press_every_key(stage)
        assert "Asking for the first listing." in stage.text


async def test_every_key_with_an_empty_fleet_on_the_smallest_screen() -> None:
    async with staged((40, 8)) as stage:
        await stage.show([])
        await press_every_key(stage)


@pytest.mark.slow
async def test_every_key_with_ten_thousand_rows() -> None:
    async with staged() as stage:
        await stage.show(beating(10_000))
        await press_every_key(stage)
        assert len(stage.names) == 10_000


@pytest.mark.slow
async def test_every_key_on_a_group_header() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("b", "p", "enter")
        await press_every_key(stage, "g")


@pytest.mark.slow
async def test_every_key_while_comparing() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("m")
        stage.now = 5
        await stage.show([*problems_and_old(stage.at)[1:], environment("new-1")])
        await stage.press("equals_sign")
        await press_every_key(stage)


async def test_every_key_in_the_filter_bar_is_typed_or_closes_it() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("slash")
        box = stage.app.dashboard.query_one(FilterBar)
        before = stage.app.dashboard.view
        typed = [key for key in dict.fromkeys((*KEYS, "q")) if len(key) == 1]
        await stage.press(*typed)
        assert box.input.value == "".join(typed)
        assert box.display
        assert isinstance(stage.app.screen, Dashboard)
        await stage.press("escape")
        assert stage.app.dashboard.view == before
