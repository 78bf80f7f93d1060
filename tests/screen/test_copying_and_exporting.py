"""The copy keys, and the export key: a text to the clipboard or as plain text, and a file of the visible rows."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.builders import NOW, environment, key_of, list_of, listed
from support.rewinding import BACK, lived, press

from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.model.times import TimeStyle
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.dialogs import CopyMenu
from envwatch.screen.screens.plain_text import PlainText
from envwatch.screen.widgets.news_bar import NewsBar
from envwatch.screen.widgets.problem_block import PresentLines
from envwatch.views.output.formats import listing_json
from envwatch.views.pane.details import COPY_LETTERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

UNLETTERED = ("device id", "connection id", "other start command", "directory")
LABELS = {*COPY_LETTERS, *UNLETTERED} - {"update command"}
"""Texts of one row that updates itself."""


@asynccontextmanager
async def dashboard(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Stage]:
    async with staged(size) as stage:
        await stage.show([environment("env-1", connectionName="ada")])
        yield stage


@pytest.fixture(autouse=True)
def _no_tmux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)


def plain(stage: Stage) -> list[str]:
    """Return the plain text's lines, without the present's lines above and the keys below."""
    assert isinstance(stage.app.screen, PlainText)
    return stage.lines[stage.app.screen.query_one(PresentLines).region.bottom : -1]


async def take_answer_away(stage: Stage) -> None:
    stage.app.answer("")
    await stage.pilot.pause()


LETTERS = {
    "n": "ada",
    "i": "env-1",
    "l": "cd /home/hiro/code/portal && letta server --computer-name=ada",
}


async def test_the_users_key_copies_the_name_and_a_letter_in_the_menu_its_text_at_once() -> None:
    async with dashboard() as stage:
        assert stage.app.sent == []
        for keys, text in {"c": "ada", **{f"y{letter}": text for letter, text in LETTERS.items()}}.items():
            await stage.press(*keys)
            assert isinstance(stage.app.screen, Dashboard), keys
            assert stage.copied == [text], keys
            assert f"sent to the clipboard: {text}".startswith(stage.news.removesuffix("…")), keys
            stage.app.sent.clear()
            await take_answer_away(stage)
            assert "clipboard" not in stage.news


async def test_the_menu_offers_every_text_with_its_beginning_and_sends_only_what_is_chosen() -> None:
    async with dashboard() as stage:
        for key in ("escape", "q"):
            await stage.press("y")
            assert isinstance(stage.app.screen, CopyMenu), key
            for label in LABELS:
                assert re.search(rf" {label}  ", stage.text), label
            assert re.search("device id +device-of-env-1", stage.text)
            order = [stage.text.index(f" {label}  ") for label in ("name", "JSON", *UNLETTERED)]
            assert order == sorted(order), "texts with a letter stand first"
            assert stage.lines[-1].strip() == "⏎ Copy  esc Close  ? Help  space Show as plain text"
            await stage.press("down", key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert stage.app.sent == [], key
        await stage.press("y", *["up"] * 4, "enter")
        assert stage.copied == ["device-of-env-1"]
        await stage.press("y")
        y = next(y for y, line in enumerate(stage.lines) if "i  id" in line)
        await stage.pilot.click(offset=(stage.lines[y].index("i  id"), y))
        await stage.pilot.pause()
        assert stage.copied[1:] == ["env-1"]


async def test_a_copy_of_a_long_text_is_answered_in_two_lines_and_is_no_event() -> None:
    async with staged() as stage:
        name = " ".join(["a-very-long-name"] * 30)
        await stage.show([environment("env-1", connectionName=name)])
        for columns in (60, 120):
            await stage.pilot.resize_terminal(columns, 24)
            await stage.press("c")
            assert stage.copied[-1] == name
            assert "sent to the clipboard: a-very-long-name" in stage.text
            assert "e: all of it" not in stage.text
            assert len(stage.app.state.monitor.event_log) == 0


async def test_a_letter_without_a_text_says_so_and_leaves_the_menu_open() -> None:
    async with staged() as stage:
        await stage.show([environment("env-1", connectionId=None)])
        await stage.press("y", "c")
        assert isinstance(stage.app.screen, CopyMenu)
        assert "Copy from laptop of env-1: c has nothing to copy here" in stage.text
        assert stage.app.sent == []


async def test_the_json_is_what_a_listing_says_of_the_environment() -> None:
    row = environment("env-1", connectionName="André", lastHeartbeat=NOW - 300_000.25)
    async with staged((80, 24), acks={key_of("env-1"): Ack(NOW, clean("known"))}) as stage:
        await stage.show([environment("env-0"), row])
        await stage.press("y")
        (line,) = (line for line in stage.lines if " JSON " in line)
        await stage.press("j")
        (text,) = stage.copied
        (expected,) = json.loads(b"".join(listing_json(list_of(listed([row])))))["environments"]
        here = {"acknowledged": "known", "pages": True, "pages_by": "system", "why": "pages: not a laptop's system"}
        assert list(json.loads(text).items()) == list((expected | here).items())
        count = text.count("\n") + 1
        assert re.search(rf" JSON +{count} lines ", line)
        assert stage.news == f"sent to the clipboard: {count} lines"


async def test_the_sentence_is_in_the_zone_of_the_screen_and_names_a_recorded_moment() -> None:
    async with lived() as stage:
        stage.app.options = stage.app.options._replace(times=TimeStyle.UTC)
        stage.go_to("env-2")
        await stage.press("y", "s")
        (text,) = stage.copied
        assert text.startswith(
            "`laptop of env-2` offline since 08:53 UTC (under 1m): disconnected; "
            "start with `cd /home/hiro/code/portal && letta server --computer-name='laptop of env-2'` or "
        )
        assert stage.news.startswith("sent to the clipboard: `laptop of env-2` offline since")
        stage.app.sent.clear()
        await press(stage, BACK)
        await press(stage, "x")
        stage.go_to("env-2")
        await press(stage, "y", "s")
        assert stage.copied[0].startswith("As of 08:53 UTC: `laptop of env-2` offline since ")


async def test_space_shows_the_text_from_the_left_edge_and_sends_nothing() -> None:
    async with dashboard() as stage:
        for key in ("escape", "enter"):
            await stage.press("y", *["down"] * 2, "space")
            assert plain(stage)[0].rstrip() == "cd /home/hiro/code/portal && letta server --computer-name=ada", key
            assert stage.text.count("ada") == 1, key
            await stage.press(key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert stage.app.sent == [], key


async def test_in_ascii_menu_and_plain_view_spell_what_cannot_be_shown() -> None:
    command = "letta server --computer-name='\\u6771\\u4eac-a'"
    metadata = {"workingDirectory": None}
    async with staged((100, 24), ascii_only=True) as stage:
        await stage.show([environment("env-1", connectionName="東京-a", connectionId=None, metadata=metadata)])
        await stage.press("y")
        assert command in stage.text
        await stage.press("down", "down", "space")
        assert plain(stage)[0].rstrip() == command
        await stage.press("escape", "y", "l")
        assert stage.copied == ["letta server --computer-name='東京-a'"]


async def test_a_long_text_can_be_scrolled() -> None:
    async with dashboard((80, 12)) as stage:
        await stage.press("y", "down", "down", "down", "down", "space")
        assert plain(stage)[0].split()[0] == "{"
        await stage.press("j")
        assert plain(stage)[0].startswith('  "id": "env-1",')
        await stage.press("k")
        page = plain(stage)
        await stage.press("pagedown")
        following = plain(stage)
        assert not {line.split()[0] for line in page} & {line.split()[0] for line in following}
        await stage.press("k")
        assert plain(stage)[0].split()[0] == page[-1].split()[0]
        await stage.press("j", "pageup")
        assert plain(stage)[0].split()[0] == "{"


async def test_where_no_environment_is_a_row_key_says_so() -> None:
    no_row = "no machine under the cursor"
    answers = {"c": f"nothing to copy: {no_row}", "y": f"nothing to copy: {no_row}", "E": no_row}
    async with staged() as stage:
        for key, answer in answers.items():
            await stage.press(key)
            assert isinstance(stage.app.screen, Dashboard), key
            assert stage.news == answer, key
            assert stage.app.sent == [], key
            await take_answer_away(stage)


async def test_on_a_group_names_ids_and_json_of_all_members_are_copied() -> None:
    async with staged((80, 24)) as stage:
        await stage.show([environment(f"env-{name}", connectionName=name) for name in ("ada", "bob")])
        await stage.press("b", "p", "enter", "g", "c")
        assert stage.copied == ["ada\nbob"]
        assert stage.news == "sent to the clipboard: 2 lines"
        await stage.press("y")
        assert "Copy from ada and bob" in stage.text
        assert re.findall("│ +([a-z])  ", stage.text) == [*"nisj"]
        await stage.press("n", "y", "i", "y", "j")
        *texts, as_json = stage.copied[1:]
        assert texts == ["ada\nbob", "env-ada\nenv-bob"]
        assert [each["name"] for each in json.loads(as_json)["environments"]] == ["ada", "bob"]


async def test_a_name_like_markup_is_text_in_menu_and_plain_view() -> None:
    async with staged() as stage:
        await stage.show([environment("env-1", connectionName="[@click=app.quit]x[/] [/")])
        await stage.press("y")
        assert "[@click=app.quit]x[/] [/" in stage.text
        await stage.press("space")
        assert plain(stage)[0].rstrip() == "[@click=app.quit]x[/] [/"


# -- exports -----------------------------------------------------------------------------------------------------------
def named(name: str, **changes: Any) -> Environment:
    return environment(f"env-{name}", connectionName=name, **changes)


def rows() -> list[Environment]:
    return [
        named("ada"),
        named("bob", connectionId=None, lastHeartbeat=None),
        named("cyd", lastHeartbeat=NOW - 60_000),
        named("=evil", metadata={"gitBranch": "[b]x"}),
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@asynccontextmanager
async def of_four(**wishes: Any) -> AsyncIterator[Stage]:
    async with staged((120, 24), **wishes) as stage:
        await stage.show(rows())
        yield stage


async def export(stage: Stage, kind: str) -> None:
    await stage.press("ctrl+s", *[kind[0]] * 3, "enter")
    for worker in [worker for worker in stage.app.workers if worker.name == "_export_all"]:
        await worker.wait()
    await stage.pilot.pause()


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def taken(folder: Path) -> str:
    """Return the content of the only file, and remove the file."""
    (path,) = files(folder)
    content = path.read_text()
    path.unlink()
    return content


async def exported(stage: Stage, folder: Path) -> dict[str, Any]:
    await export(stage, "json")
    document: dict[str, Any] = json.loads(taken(folder))
    return document


async def test_the_menu_says_what_each_format_holds_and_the_news_say_where_the_file_is(folder: Path) -> None:
    async with of_four() as stage:
        await stage.press("ctrl+s")
        for line in ("JSON  4 machines with every field", "CSV   4 machines for a spreadsheet", "SVG   a pict"):
            assert line in stage.text
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)
        assert files(folder) == []
        for kind, what in (("json", "4 machines"), ("svg", "a picture of the screen")):
            await export(stage, kind)
            (path,) = [path for path in files(folder) if path.suffix == f".{kind}"]
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stage.app.dashboard.query_one(NewsBar).message.text == f"exported to {path.name}: {what}"
        (picture,) = [path.read_text() for path in files(folder) if path.suffix == ".svg"]
        assert picture.startswith("<svg")
        text = picture.replace("&#160;", " ")
        assert all(name in text for name in ("STATE", "ada", "bob", "cyd", "○ off"))
        assert "Export machines or screen" not in text


async def test_the_json_holds_what_is_shown_in_its_order_with_filter_preset_and_notes(folder: Path) -> None:
    async with of_four(acks={key_of("env-bob"): Ack(NOW, clean("disk full"))}) as stage:
        document = await exported(stage, folder)
        assert stage.names == ["cyd", "=evil", "ada"]
        assert [row["name"] for row in document["environments"]] == ["bob", *stage.names]
        assert [row["acknowledged"] for row in document["environments"]] == ["disk full", None, None, None]
        assert (document["filter"], document["preset"]) == (None, None)
        await stage.press("o", "n", "enter", "I")
        await stage.type("/standard status:on,late")
        await stage.press("enter")
        document = await exported(stage, folder)
        assert stage.names == ["cyd", "ada", "=evil"]
        assert [row["name"] for row in document["environments"]] == stage.names
        assert (document["filter"], document["preset"]) == ("standard status:on,late", None)
        assert (document["total_unfiltered"], document["counts"]["total"]) == (4, 3)
        await stage.press("escape", "2")
        document = await exported(stage, folder)
        assert [row["name"] for row in document["environments"]] == ["cyd", "bob"]
        assert (document["filter"], document["preset"]) == (None, "off")
        await stage.press("0", "b", "p", "enter", "X")
        assert "ada" not in "\n".join(stage.body)
        assert len((await exported(stage, folder))["environments"]) == 4, "the folded too"
        await stage.press("0", "m", "equals_sign")
        stage.now = 5
        await stage.show([named("ada", currentMode="plan"), *rows()[1:]])
        assert [row["name"] for row in (await exported(stage, folder))["environments"]] == ["ada"], "what differs"
        await stage.press("equals_sign")
        await stage.tick(61)
        assert {row["state"] for row in (await exported(stage, folder))["environments"]} == {"unknown"}


async def test_the_csv_holds_what_is_shown_in_its_order_and_no_formula(folder: Path) -> None:
    async with of_four(acks={key_of("env-bob"): Ack(NOW, clean("disk full"))}) as stage:
        await stage.press("o", "n", "enter")
        await export(stage, "csv")
        lines = list(csv.DictReader(io.StringIO(taken(folder))))
        assert [line["id"] for line in lines] == ["env-=evil", "env-ada", "env-bob", "env-cyd"]
        assert not any(cell.startswith("=") for line in lines for cell in line.values())
        assert [line["state"] for line in lines] == ["online", "online", "offline", "late"]
        assert [line["acknowledged"] for line in lines] == ["", "", "disk full", ""]


async def test_an_empty_fleet_can_be_exported_even_before_the_first_listing(folder: Path) -> None:
    async with staged() as stage:
        assert (await exported(stage, folder))["environments"] == []
        await stage.show([])
        await export(stage, "csv")
        assert taken(folder).count("\n") == 1


async def test_a_folder_without_the_right_to_write_is_answered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = folder / "gone"
    removed.mkdir()
    async with of_four() as stage:
        monkeypatch.chdir("/proc")  # where not even root can write
        await export(stage, "json")
        assert stage.news.startswith("cannot export here: ")
        assert stage.news.endswith("; start envwatch in a folder where you may write")
        monkeypatch.chdir(removed)
        removed.rmdir()
        await export(stage, "json")
        assert stage.news.startswith("cannot export here: No such file or directory; start")
        assert stage.app.is_running
