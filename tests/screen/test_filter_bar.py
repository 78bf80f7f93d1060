"""The filter box: completions, error positions, and the rows that a half typed filter shows."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.app_harness import staged
from support.builders import NOW, environment
from support.rewinding import until

from envwatch.screen.widgets.filter_bar import FilterBar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.app_harness import Stage

MESSAGE = "write a duration like 1h30m or a date like 2026-11-24T03:00"


def named(name: str, **changes: Any) -> Any:
    return environment(f"env-{name}", connectionName=name, lastHeartbeat=NOW - 10_000, **changes)


@asynccontextmanager
async def box(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    async with staged(size) as stage:
        await stage.show([named("ada"), named("bob", currentMode="unrestricted"), named("build box")])
        await stage.press("slash")
        yield stage


async def typed(stage: Stage, text: str, cursor: int | None = None) -> tuple[str, str]:
    line = stage.app.dashboard.query_one(FilterBar).input
    line.value = text
    line.cursor_position = len(text) if cursor is None else cursor
    await stage.pilot.pause()
    return stage.lines[-3], stage.lines[-2]


async def test_a_mistake_is_readable_underlined_and_its_pointer_is_right() -> None:
    async with box() as stage:
        places = set()
        for at in range(0, 120, 5):
            hint, line = await typed(stage, "東" * (at // 3) + "x" * (at % 3) + " beat:soon")
            assert MESSAGE in hint
            pointed = hint.replace(MESSAGE, " " * len(MESSAGE)).find("^")
            columns = line.replace("東", "東_")
            assert pointed == -1 or columns[pointed : pointed + 4] == "soon"
            places.add("none" if pointed < 0 else "before" if pointed < hint.find(MESSAGE) else "behind")
        assert places == {"none", "before", "behind"}
        await typed(stage, "ada beat:soon nas")
        underlined = [
            segment.text for segment in stage.strips[-2] if segment.style is not None and segment.style.underline
        ]
        assert underlined == ["soon"]


COMPLETIONS = {
    "mode:": " tab  standard  unrestricted ",
    "mode:unrestricted,": " tab  standard ",
    "!mode:unrestricted,sta": " tab  standard ",
    'name:"buil': ' tab  "build box" ',
    "name:b": " 0; name:b* finds 2  tab  bob  ",
    "name:build* !name:b": " tab  bob  ",
    "status:of": " tab  off ",
    "beat:>90": " tab  >90s  >90m ",
    "of": " tab  status:off ",
}


async def test_an_unfinished_term_shows_completions_at_the_cursor_and_no_mistake() -> None:
    async with box() as stage:
        for text, offered in COMPLETIONS.items():
            hint, _ = await typed(stage, text)
            assert hint.startswith(offered), text
        hint, _ = await typed(stage, "mode: bob")
        assert "mode needs a value" in hint, "this was left unfinished"
        hint, _ = await typed(stage, "mode:un ada")
        assert "unrestricted" not in hint
        await stage.press(*["left"] * 4)
        assert stage.lines[-3].startswith(" tab  unrestricted ")
        await stage.press("tab")
        assert stage.lines[-2].startswith(" mode:unrestricted ada")
        assert stage.app.dashboard.query_one(FilterBar).input.cursor_position == len("mode:unrestricted")


SHOWN = {
    "foo": [],
    "foo:": ["ada", "bob", "build box"],
    "foo:bar": ["ada", "bob", "build box"],
    "bo foo:bar": ["bob", "build box"],
    "status:onlinefoo": ["ada", "bob", "build box"],
    "beat:>90": ["ada", "bob", "build box"],
    "beat:>90s": [],
    "status:offl": [],
    "status:onl": ["ada", "bob", "build box"],
}


async def test_an_invalid_term_filters_nothing_and_nothing_vanishes_on_the_way_to_a_term() -> None:
    async with box() as stage:
        for text, shown in SHOWN.items():
            await typed(stage, text)
            assert sorted(stage.names) == shown, text
        for text in ("status:late", "heartbeat:>90s", "meta.disk:full", "bo mode:unrestricted"):
            for end in range(1, text.index(":") + 2):
                await typed(stage, text[:end])
                assert stage.names != [], text[:end]


async def test_the_begin_of_a_fields_name_counts_only_with_a_match_or_once_kept() -> None:
    async with box() as stage:
        for text in ("bo b", "bo beat"):
            await typed(stage, text)
            assert stage.names == ["bob", "build box"], text
        await stage.press("enter")
        assert stage.names == []
        assert " bo beat 0/3 " in stage.lines[0]


async def test_a_value_without_a_match_has_a_hint_while_typing_and_above_the_empty_table() -> None:
    hint = "no machine has mode:unrestrcted; did you mean mode:unrestricted?"
    async with box() as stage:
        for text in ("mode:unrestrcted", " "):
            await stage.type(text)
            assert stage.lines[-3].strip() == hint, text
        await stage.press("enter")
        assert f"Nothing matches: {hint} esc clears the filter" in " ".join(stage.text.split())
        await stage.press("slash", "backspace")
        await stage.type(" na")
        assert "name:" in stage.lines[-3]


async def test_escape_restores_the_filter_from_before_and_a_second_escape_clears_the_filter() -> None:
    async with box() as stage:
        for text in ("x foo:", ""):
            await typed(stage, "mode:unrestricted")
            await stage.press("enter", "slash")
            await typed(stage, text)
            await stage.press("escape")
            assert not stage.app.dashboard.query_one(FilterBar).display, text
            assert stage.table.has_focus, text
            assert stage.names == ["bob"], text
            await stage.press("escape")
            assert len(stage.names) == 3, text
            await stage.press("slash")


async def test_the_way_to_a_hidden_row_clears_the_filter_and_says_so() -> None:
    async with box() as stage:
        await typed(stage, "ada")
        await stage.press("enter")
        assert stage.names == ["ada"]
        stage.go_to("env-bob")
        await stage.pilot.pause()
        assert stage.cursor == "bob"
        assert stage.news == "filter cleared: bob was hidden"


async def test_a_whole_value_that_finds_nothing_names_the_wider_filter_once_on_the_screen() -> None:
    async with box() as stage:
        for text in ("name:b", " "):
            await stage.type(text)
            assert stage.lines[-3].startswith(" 0; name:b* finds 2"), text
            assert stage.text.count("finds 2") == 1, text
        await stage.press("enter")
        assert "Nothing matches: name:b finds 0; name:*b* finds 2. esc clears" in " ".join(stage.text.split())


async def test_the_hint_of_a_large_fleet_waits_for_a_pause_in_typing() -> None:
    async with staged() as stage:
        await stage.show([named(f"web-{number}") for number in range(501)])
        await stage.press("slash")
        assert "finds" not in (await typed(stage, "name:web"))[0]
        await until(stage, lambda: stage.lines[-3].startswith(" 0; name:web* finds 501"))


async def keep_filter(stage: Stage, text: str) -> None:
    await stage.press("slash")
    await typed(stage, text)
    await stage.press("enter")


async def test_up_and_down_walk_through_the_earlier_filters_and_what_was_typed() -> None:
    kept: list[dict[str, str]] = []
    async with staged(filters=["name:ada", "version:<0.30"], keep=lambda **one: kept.append(one)) as stage:
        await stage.show([named("ada"), named("bob", currentMode="unrestricted"), named("build box")])
        await keep_filter(stage, "mode:unrestricted")
        await keep_filter(stage, "name:ada")
        assert kept == [{"filter": "mode:unrestricted"}, {"filter": "name:ada"}]
        await stage.press("slash")
        line = stage.app.dashboard.query_one(FilterBar).input
        await typed(stage, "bo")
        shown = [line.value]
        for key in ("up", "up", "up", "up", "down", "down", "down", "down"):
            await stage.press(key)
            shown.append(line.value)
        walked = ["bo", "name:ada", "mode:unrestricted", "version:<0.30"]
        assert shown == [*walked, walked[-1], *walked[-2::-1], "bo"]
        assert line.cursor_position == len("bo")


async def test_a_recalled_filter_filters_at_once_and_a_changed_one_is_a_text_of_its_own() -> None:
    async with staged(filters=["bob", "ada"]) as stage:
        await stage.show([named("ada"), named("bob"), named("build box")])
        await stage.press("slash", "up")
        assert stage.names == ["ada"]
        line = stage.app.dashboard.query_one(FilterBar).input
        await typed(stage, "build")
        await stage.press("up", "up", "down", "down")
        assert line.value == "build"
        assert stage.names == ["build box"]


async def test_without_an_earlier_filter_the_hint_says_so() -> None:
    async with box() as stage:
        for key, hint in (("up", "no earlier filter"), ("down", "no later filter")):
            await stage.press(key)
            assert stage.lines[-3].strip() == hint
        await stage.type("a")
        assert "no later filter" not in stage.text


async def test_a_cancelled_filter_is_no_earlier_filter_and_the_log_has_the_same_ones() -> None:
    async with staged(filters=["bob"]) as stage:
        await stage.show([named("ada"), named("bob")])
        await stage.press("slash")
        await typed(stage, "ada")
        await stage.press("escape", "e", "slash", "up")
        line = stage.app.screen.query_one(FilterBar).input
        assert line.value == "bob"
