"""Every key is in the help, is unique, has an effect, and never ends the program; footer, clicks and palette."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.app_harness import staged
from support.builders import beating, environment
from support.own_keys import OWN_KEYS
from support.rewinding import BACK, lived, press, until
from textual.binding import Binding
from textual.command import CommandList
from textual.dom import DOMNode
from textual.screen import ModalScreen

from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.screen.app import EnvwatchApp
from envwatch.screen.keymap import binding_ids, binding_scopes
from envwatch.screen.screens.command_palette import Commands, Palette
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.dialogs import ColumnPicker, CopyMenu, Menu, Prompt, SortMenu
from envwatch.screen.screens.event_log import EventLogScreen
from envwatch.screen.screens.help import FIRST_FILTERS, FIRST_KEYS, SECTIONS, HelpScreen, help_sections
from envwatch.screen.screens.plain_text import HandoverScreen, PlainText
from envwatch.screen.screens.table_screen import PAST_KEYS
from envwatch.screen.state import UNICODE
from envwatch.screen.themes import THEMES
from envwatch.screen.widgets.detail_pane import DetailPane
from envwatch.screen.widgets.environment_table import EnvironmentTable
from envwatch.screen.widgets.filter_bar import FilterBar
from envwatch.screen.widgets.footer import KeyFooter, has_key
from envwatch.screen.widgets.news_bar import MESSAGE_S, NewsBar
from envwatch.views.pane.legend import (
    LIVE,
    STATUS_ENTRIES,
    hour_entries,
    mark_entries,
    paging_text,
    rule_entries,
    state_entries,
    tag_entries,
)
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
"""Keys that end or stop the program, tested below, in `test_lifecycle` and in `test_suspend`."""


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


DEFAULT_KEYS: Final = (
    "j down k up g home G end ctrl+d pagedown ctrl+u pageup enter escape q slash n N a M A space x y e E o C b "
    "1 2 3 4 0 left_curly_bracket right_curly_bracket T L p r colon ctrl+p question_mark f1 ctrl+s ctrl+z ctrl+c"
)


def test_the_dashboard_binds_29_actions_by_default_and_4_of_the_time_machine() -> None:
    """A binding with several keys counts once, as do the digits for parts of the fleet. ctrl+c and ctrl+z do not."""
    bound = [binding for binding in declared(EnvironmentTable, Dashboard, EnvwatchApp) if has_key(binding)]
    kinds = {"view" if binding.action.startswith("view(") else binding.id for binding in bound}
    history = {binding.id for binding in bound if (binding.id or "").startswith("history.")}
    assert len(kinds - history - {"app.interrupt", "app.suspend"}) <= 29
    keys = {key for binding in bound for key in keys_of(binding)}
    assert keys == set(DEFAULT_KEYS.split())
    assert not keys & set(OWN_KEYS.values())
    assert history | PAST_KEYS.keys() == {id_ for id_ in IDS if id_.startswith("history.")}
    assert len(history) == 4


@pytest.mark.parametrize(
    ("focused", "intended"),
    [
        (EnvironmentTable, {}),
        (DetailPane, {}),
        (FilterBar, {"enter": {"find.keep", "machine.open"}, "escape": {"find.cancel", "app.back"}}),
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


async def test_layers_close_by_their_own_key_by_escape_and_by_q_and_q_quits_only_on_the_table() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("j", "enter", "enter")  # an environment: an incident of several has no explanation
        detail = stage.app.dashboard.query_one(DetailPane)
        assert detail.has_focus
        for opener, *closers in (
            *(("e", "e", "escape", "q"), ("question_mark", "question_mark", "q")),
            *(("y", "q"), ("C", "q"), ("E", "q")),
        ):
            for closer in closers:
                await stage.press(opener)
                assert opener == "E" or not isinstance(stage.app.screen, Dashboard), opener
                await stage.press(closer)
                assert isinstance(stage.app.screen, Dashboard), (opener, closer)
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


@pytest.mark.slow
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
            assert re.match(" default .* page .*live ", stage.lines[0]), screen
            assert re.match("▌.○ .*off .* NEW .*off-[01]", stage.lines[1]), screen
            while not isinstance(stage.app.screen, Dashboard):
                await stage.press("escape")


async def test_a_key_without_an_effect_now_says_so() -> None:
    async with staged() as stage:
        await stage.show(beating(3, stage.at))
        view, start = stage.app.dashboard.view, stage.lines
        for keys in (("escape",), ("enter", "enter", "enter"), ("1",), ("x",), ("equals_sign",), ("n",)):
            before = stage.news
            await stage.press(*keys)
            assert stage.news not in {before, ""}, keys
            await begin_again(stage, view)
            assert stage.lines == start, keys


async def test_the_first_page_of_the_help_has_ten_keys_five_states_and_what_pages_with_air_at_80x24() -> None:
    async with staged(keymap={"find.filter": "f"}) as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("question_mark")
        for sign, _, meaning in state_entries(Limits(), ascii_only=False):
            assert re.search(rf" {re.escape(sign)} +{re.escape(meaning)}", stage.text), sign
        keys = ["slash", "enter", "escape", "n", "a", "M", "e", "y", "question_mark", "q"]
        assert [keys_of(IDS[id_])[0] for id_ in FIRST_KEYS] == keys
        assert all(text in stage.text for text in FIRST_KEYS.values())
        assert re.search(" f +find machines", stage.text)  # the user-defined key
        assert paging_text() in " ".join(stage.text.split())
        page = stage.lines[2:-1]
        assert len([line for line in page if not line.strip(" \u2581\u2582\u2583\u2584\u2585\u2586\u2587")]) >= 4
        assert all(label not in stage.text for label in (" Marks ", " Tags ", " Status ", " Filters ", " Move "))


@pytest.mark.parametrize(("size", "keys"), [((80, 24), ["pagedown"]), ((120, 36), [])])
async def test_the_second_page_of_the_help_has_tags_signs_badges_and_filters(
    size: tuple[int, int], keys: list[str]
) -> None:
    async with staged(size) as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press("question_mark", *keys)
        legend = (
            *mark_entries(ascii_only=False),
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
        assert re.search(" FOR +time in this state", stage.text)
        assert re.search(" BEAT +age of the heartbeat", stage.text)
        assert {entry.sign for entry in rule_entries()} == set(Aside)
        assert "envwatch 2" in stage.text, "version, server and key are the last line of the page"
        badges = {"DATA ?", "BLIND", "KEY REFUSED", "NONE ON"}
        assert badges <= {entry.sign for entry in STATUS_ENTRIES}
        assert len(FIRST_FILTERS) == 3
        assert all(f" {example} " in stage.text for example in FIRST_FILTERS)


async def test_the_help_has_two_columns_from_100_cells() -> None:
    async with staged((100, 120)) as stage:
        await stage.press("question_mark")
        for width, columns in ((100, 2), (99, 1)):
            await stage.pilot.resize_terminal(width, 120)
            beside = [line for line in stage.lines if re.search(r"^ .*\S +(Polling|Everywhere) *$", line)]
            assert any(re.match(r" (Move|Find) ", line) for line in stage.lines)
            assert bool(beside) is (columns == 2), width


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
        titles = {title for section, title in SECTIONS.items() if section not in {"command", "view"}}  # the user's own
        assert titles <= {line.strip() for line in stage.lines}
        for title, entries in help_sections(nodes).items():
            counts = Counter(each for entry in entries for each in (*entry.keys, entry.text))
            assert {each for each, count in counts.items() if count > 1} <= {"⏎", "esc"}, title  # filter and table


HERE: Final = {"e": "Open group or machine", "C": "Show or hide"}


async def test_help_is_there_on_every_screen_and_begins_with_the_keys_of_the_screen() -> None:
    async with staged((80, 70)) as stage:
        await stage.show(problems_and_old(stage.at))
        for key, text in HERE.items():
            await stage.press(key)
            screen = stage.app.screen
            await stage.press("question_mark")
            assert isinstance(stage.app.screen, HelpScreen), key
            here = stage.text[stage.text.index("Here") : stage.text.index("Move")]
            assert text in here
            assert "Quit" not in here, key
            await stage.press("escape")
            assert stage.app.screen is screen, key
            await stage.press("escape")
        await stage.press("a", "question_mark")
        assert not isinstance(stage.app.screen, HelpScreen), "where something is typed, another key helps"
        await stage.press("f1")
        assert isinstance(stage.app.screen, HelpScreen)


NOT_OFFERED: Final = {"app.palette", "app.interrupt"}
"""The palette key, and ctrl+c, which quits like `q`."""


async def offered(stage: Stage) -> dict[str, str]:
    hits = [hit async for hit in Commands(stage.app.screen).discover()]
    return {hit.text or "": str(hit.prompt).removeprefix(hit.text or "").strip() for hit in hits}


async def test_the_palette_offers_each_action_of_now_with_its_key_and_finds_each_by_its_description() -> None:
    async with staged() as stage:
        await stage.show(problems_and_old(stage.at))
        moves = {binding.description for id_, binding in IDS.items() if id_.startswith("move.")}
        for key, node in (("2", EnvironmentTable), ("enter", DetailPane)):
            await stage.press(key)
            titles = await offered(stage)
            for binding in declared(node, Dashboard, EnvwatchApp):
                assert (binding.description in titles) is (binding.id not in NOT_OFFERED), (binding.id, node)
            assert titles["Reset the view except the columns"] == "0", node
            order = list(titles)
            first_move = next(place for place, title in enumerate(order) if title in moves)
            assert order[0] == "Filter"
            assert first_move > order.index("Quit")
        provider = Commands(stage.app.screen)
        for title in await offered(stage):
            assert title in [hit.text async for hit in provider.search(title.casefold())]
        await stage.press("slash")
        titles = await offered(stage)
        assert {binding.description for binding in declared(FilterBar)} < set(titles)
        typed = {binding.description for binding in ALL if len(keys_of(binding)[0]) == 1}
        assert typed & set(titles) == set()


async def test_the_palette_opens_by_two_keys_and_offers_quit_once() -> None:
    async with staged(ascii_only=True) as stage:
        await stage.show(beating(3))
        for key in ("ctrl+p", "colon"):
            await stage.press(key)
            assert "  : Search for commands" in stage.text, key
            assert "🔎" not in stage.text
            await stage.press("escape")
            assert "Search for commands" not in stage.text, key
        await stage.press("colon")
        await stage.type("quit")
        async with asyncio.timeout(30):
            while "│ Filter" in stage.text:
                await stage.pilot.pause()
        boxed = [line for line in stage.lines if "│ " in line]
        assert len([line for line in boxed if "│ Quit" in line]) == 1
        assert "│ Quit" in boxed[0]


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


FOUND: Final = {
    "sil": ["Silence for a time, or end a silence"],
    "silx": [],
    "export mach": ["Export machines or screen …"],
    "show of": ["Show off and late"],
    "theme …": ["Theme …"],
    "interval 10s": ["Interval 10s"],
}


async def test_the_palette_finds_beginnings_of_words_alone_and_first_of_names() -> None:
    async with staged() as stage:
        rows = [environment(f"env-{n}", connectionName=f"my-sofa-{n}") for n in range(60)]
        await stage.show([*rows, environment("env-x", connectionName="sofia")])
        for query, found in FOUND.items():
            hits = [hit async for hit in Commands(stage.app.screen).search(query)]
            offer = [f"Nothing is called {query}: ⏎ filters the machines by these words"]
            assert [hit.text for hit in sorted(hits, key=lambda hit: hit.score, reverse=True)] == (found or offer), (
                query
            )
        hits = [hit async for hit in Commands(stage.app.screen).search("sof")]
        ranked = [str(hit.text) for hit in sorted(hits, key=lambda hit: hit.score, reverse=True)]
        assert ranked[0] == "sofia"
        assert "Show off and late" in ranked


async def test_the_palette_finds_the_values_of_settings_and_sets_them() -> None:
    kept = dict[str, object]()
    async with staged(keep=lambda **values: kept.update(values)) as stage:
        await stage.show(beating(3))
        values = {
            str(hit.text): hit.command
            for query in ("theme", "interval", "times", "bell")
            async for hit in Commands(stage.app.screen).search(query)
        }
        assert {f"Theme {theme.name}" for theme in THEMES} < values.keys()
        assert {"Interval 30s", "Times UTC", "Bell on", "Bell off"} < values.keys()
        for title in ("Theme envwatch-light", "Interval 30s", "Times UTC", "Bell off"):
            values[title]()
        assert stage.app.theme == "envwatch-light"
        assert stage.poller.interval == timedelta(seconds=30)
        assert stage.app.options.times == "UTC"
        assert kept == {"theme": "envwatch-light", "bell": False}


async def test_the_palette_offers_the_filter_after_a_miss() -> None:
    async with staged() as stage:
        await stage.show([environment("env-x", connectionName="sofia")])
        screen = stage.app.screen
        assert isinstance(screen, Dashboard)
        (offer,) = [hit async for hit in Commands(screen).search("os:linux xyzzy")]
        assert offer.text == "Nothing is called os:linux xyzzy: ⏎ filters the machines by these words"
        offer.command()
        assert str(screen.view.query) == "os:linux xyzzy"


async def test_nothing_from_outside_is_markup_in_the_palette() -> None:
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


BEFORE: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("move.up", "move.top", "move.page_up"), ("G",)),
    **dict.fromkeys(("move.pane_down", "move.pane_bottom", "move.pane_page_down"), ("enter",)),
    **dict.fromkeys(("move.pane_up", "move.pane_top", "move.pane_page_up"), ("enter", "G")),
    **dict.fromkeys(("find.complete", "find.keep", "find.cancel", "find.earlier", "find.later"), ("slash", "m", "o")),
    **dict.fromkeys(("find.all", "find.reset", "app.back"), ("2",)),
    "baseline.compare": ("m",),
}
"""The keys to a state where a binding has an effect; the others have an effect at the start."""


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
    await stage.press(*BEFORE.get(id_, ()))
    await settle(stage)
    was = state(stage)
    await stage.press(keys_of(IDS[id_])[0])
    if stage.app.is_running:
        await settle(stage)
    return state(stage) != was


async def test_every_key_has_a_visible_effect() -> None:
    async with staged((80, 16)) as stage:
        await stage.show(problems_and_old(stage.at))
        view, start = stage.app.dashboard.view, stage.lines
        for id_ in sorted(id_ for id_, binding in IDS.items() if has_key(binding) and id_ not in LEAVES):
            assert await is_seen(stage, id_), id_
            await begin_again(stage, view)
            assert stage.lines == start, id_


@pytest.mark.parametrize(("id_", "code"), [("app.quit", 0), ("app.interrupt", 130)])
async def test_a_key_to_end_the_program_gives_its_code(id_: str, code: int) -> None:
    async with staged((80, 16)) as stage:
        await stage.show(problems_and_old(stage.at))
        await stage.press(keys_of(IDS[id_])[0])
        assert not stage.app.is_running
        assert stage.app.return_code == code


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
async def test_every_key_with_an_empty_fleet_on_the_smallest_screen() -> None:
    async with staged((40, 8)) as stage:
        await stage.show([])
        await press_every_key(stage)


@pytest.mark.slow
async def test_every_key_before_the_first_listing_on_a_group_while_comparing_and_with_ten_thousand_rows() -> None:
    async with staged() as stage:
        await press_every_key(stage)
        assert "Asking the server." in stage.text
        await stage.show(problems_and_old(stage.at))
        await stage.press("b", "p", "enter")
        await press_every_key(stage, "g")
        await stage.press("0", "m")
        stage.now = 5
        await stage.show([*problems_and_old(stage.at)[1:], environment("new-1")])
        await stage.press("equals_sign")
        await press_every_key(stage)
        stage.now = 10
        await stage.press("equals_sign")
        await stage.show([*problems_and_old(stage.at), *(environment(f"more-{n}") for n in range(10_000))])
        await press_every_key(stage)
        assert stage.app.is_running


async def test_every_key_in_the_filter_bar_is_typed_or_closes_the_bar() -> None:
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


# -- footer and clicks -------------------------------------------------------------------------------------------------
def foot(stage: Stage) -> str:
    return re.sub(" +", " ", stage.lines[-1]).strip()


async def click(stage: Stage, label: str) -> None:
    await stage.pilot.click(KeyFooter, offset=(stage.lines[-1].index(label), 0))
    await stage.turns()


async def test_on_a_group_header_enter_folds_or_opens_the_group() -> None:
    async with staged() as stage:
        await stage.show(beating(3))
        for keys, label in (((), "Detail"), (("b", "p", "enter", "g"), "Fold"), (("enter",), "Open")):
            await stage.press(*keys)
            assert f"⏎ {label}" in foot(stage)
            assert "y Copy" in foot(stage)
        await stage.press("enter", "j")
        assert "⏎ Detail" in foot(stage)


FIRST = "/ Filter ⏎ Detail n Next e Events a Ack y Copy "
LAST = ": Palette ? Help q Quit"
COLUMNS = "C Columns T To a time p Pause"
FOOTERS: Final = {
    40: "/ Filter ⏎ Detail ? Help q Quit",
    60: "/ Filter ⏎ Detail n Next e Events ? Help q Quit",
    80: f"{FIRST}{LAST}",
    120: f"{FIRST}E Explain {{ Past M Silence x Fold {LAST}",
    200: f"{FIRST}E Explain {{ Past M Silence x Fold o Sort space Mark A Override b Group {COLUMNS} {LAST}",
}


async def test_a_wider_footer_has_more_keys_and_the_narrowest_has_help_and_quit() -> None:
    async with staged() as stage:
        await stage.show([environment(connectionId=None)])
        for columns, keys in FOOTERS.items():
            await stage.pilot.resize_terminal(columns, 24)
            await stage.turns()
            assert foot(stage) == keys, columns
    async with staged((100, 24), keymap={"find.filter": "f", "app.events": "w"}) as stage:
        await stage.show([environment(connectionId=None)])
        assert foot(stage) == "f Filter ⏎ Detail n Next w Events a Ack y Copy E Explain { Past : Palette ? Help q Quit"


async def test_the_footer_of_the_past_has_no_key_of_the_present() -> None:
    async with lived(size=(200, 24)) as stage:
        await press(stage, BACK)
        assert "E Explain x Fold o Sort space Mark" in foot(stage)
        assert not re.search("Silence|Refresh|{ Past", foot(stage))


async def test_a_click_on_a_key_does_what_the_key_does_and_two_clicks_quit() -> None:
    async with staged((120, 24)) as stage:
        await stage.show(beating(3))
        await click(stage, "Help")
        assert top(stage) is HelpScreen
        await click(stage, "Close")
        await click(stage, "Events")
        assert [type(screen) for screen in stage.app.screen_stack] == [Dashboard, EventLogScreen]
        await stage.press("escape")
        await stage.pilot.click(NewsBar)
        await stage.turns()
        assert top(stage) is EventLogScreen
        await stage.press("escape", "enter")
        await click(stage, "Close")
        assert stage.table.has_focus
        await stage.pilot.click(KeyFooter, offset=(119, 0))
        assert top(stage) is Dashboard, "nothing is beside the keys"
        for _ in range(2):
            await click(stage, "Quit")
            assert stage.news == "one more click quits; the key q quits at once"
            await stage.tick(MESSAGE_S)
        assert stage.app.is_running
        await click(stage, "Quit")
        await click(stage, "Quit")
        assert stage.app.return_code == 0


async def test_a_click_on_the_row_under_the_cursor_opens_the_row_and_one_on_another_only_selects() -> None:
    async with staged((120, 30)) as stage:
        await stage.show(beating(3))
        for is_open in (False, True):
            await stage.pilot.click("#table", offset=(20, 2))
            await stage.turns()
            assert stage.cursor == "laptop of env-2"
            assert stage.app.dashboard.query_one(DetailPane).has_focus is is_open
            await stage.tick(2)


async def test_the_menu_of_themes_begins_with_our_own_and_shows_a_theme_before_the_choice() -> None:
    kept = dict[str, object]()
    async with staged(theme="envwatch-light", keep=lambda **values: kept.update(values)) as stage:
        await stage.show(beating(3))
        for end, theme in (("escape", "envwatch-light"), ("enter", "envwatch-contrast")):
            await stage.app.run_action("change_theme")
            await stage.pilot.pause()
            menu = stage.app.screen
            assert isinstance(menu, Menu)
            names = [choice.title for choice in menu._choices]  # noqa: SLF001
            own = [theme.name for theme in THEMES]
            assert names == [*own, *sorted(set(names) - {*own})]
            assert re.findall("([a-z-]+) +in use", stage.text) == ["envwatch-light"]
            await stage.press("j")
            await stage.turns()
            assert (stage.app.theme, kept) == ("envwatch-contrast", {})
            await stage.press(end)
            assert stage.app.theme == theme
        assert kept == {"theme": "envwatch-contrast"}
