"""The export key: a file of the visible rows in the start folder, and no further file."""

from __future__ import annotations

import csv
import io
import json
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.budget import first_quick
from support.builders import NOW, environment, key_of

from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.widgets.news_bar import NewsBar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.app_harness import Stage

    from envwatch.model.environment import Environment

FIRST_LETTER = {"json": "j", "csv": "c", "svg": "s"}


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
async def dashboard(**wishes: Any) -> AsyncIterator[Stage]:
    async with staged((120, 24), **wishes) as stage:
        await stage.show(rows())
        yield stage


async def export(stage: Stage, kind: str) -> None:
    await stage.press("ctrl+s")
    for _ in "jcs":
        await stage.press(FIRST_LETTER[kind])
    await stage.press("enter")
    for worker in [worker for worker in stage.app.workers if worker.name == "_export_all"]:
        await worker.wait()
    await stage.pilot.pause()


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def only_file(folder: Path) -> Path:
    (path,) = files(folder)
    return path


async def test_the_menu_says_what_each_format_holds(folder: Path) -> None:
    async with dashboard() as stage:
        await stage.press("ctrl+s")
        for line in ("JSON  4 environments with every field", "CSV   4 environments for a spreadsheet", "SVG   a pict"):
            assert line in stage.text
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)
        await stage.press("slash", *"ada", "enter", "ctrl+s")
        assert "1 environment with every field" in stage.text
    assert files(folder) == []


@pytest.mark.parametrize("kind", first_quick(["json", "csv", "svg"]))
async def test_the_file_is_its_owners_alone_and_the_news_say_where_it_is(folder: Path, kind: str) -> None:
    async with dashboard() as stage:
        await export(stage, kind)
        path = only_file(folder)
        assert path.suffix == f".{kind}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        what = "a picture of the screen" if kind == "svg" else "4 environments"
        assert stage.app.dashboard.query_one(NewsBar).message.text == f"exported to {path.name}: {what}"


async def test_the_json_holds_what_is_shown_in_its_order_with_filter_and_notes(folder: Path) -> None:
    async with dashboard(acks={key_of("env-bob"): Ack(NOW, clean("disk full"))}) as stage:
        await stage.press("2", "o", "n", "enter", "I")
        await stage.type("/standard status:online")
        await stage.press("enter")
        await export(stage, "json")
        assert stage.names == ["cyd", "ada", "=evil"]
        exported = json.loads(only_file(folder).read_bytes())
        assert [row["name"] for row in exported["environments"]] == stage.names
        assert (exported["filter"], exported["preset"]) == ("standard status:online", "online")
        assert exported["total_unfiltered"] == 4
        assert exported["counts"]["total"] == 3


async def test_preset_and_query_are_exported_apart(folder: Path) -> None:
    async with dashboard() as stage:
        await stage.press("4")
        await stage.type("/status:late")
        await stage.press("enter")
        await export(stage, "json")
        exported = json.loads(only_file(folder).read_bytes())
        assert (exported["filter"], exported["preset"], exported["environments"]) == ("status:late", "offline", [])


async def test_what_nothing_narrows_has_neither_filter_nor_preset_and_begins_with_the_losses(folder: Path) -> None:
    async with dashboard() as stage:
        await export(stage, "json")
        exported = json.loads(only_file(folder).read_bytes())
        assert stage.names == ["cyd", "=evil", "ada"]
        assert [row["name"] for row in exported["environments"]] == ["bob", *stage.names]
        assert (exported["filter"], exported["preset"]) == (None, None)


async def test_notes_stand_in_both_formats(folder: Path) -> None:
    async with dashboard(acks={key_of("env-bob"): Ack(NOW, clean("disk full"))}) as stage:
        await export(stage, "json")
        exported = json.loads(only_file(folder).read_bytes())
        assert {row["name"]: row["acknowledged"] for row in exported["environments"]} == {
            "ada": None,
            "bob": "disk full",
            "cyd": None,
            "=evil": None,
        }
        only_file(folder).unlink()
        await export(stage, "csv")
        lines = csv.DictReader(io.StringIO(only_file(folder).read_text()))
        assert [line["acknowledged"] for line in lines if line["name"] == "bob"] == ["disk full"]


async def test_the_csv_holds_what_is_shown_in_its_order_and_no_formula(folder: Path) -> None:
    async with dashboard() as stage:
        await stage.press("o", "n", "enter")
        await export(stage, "csv")
        lines = list(csv.DictReader(io.StringIO(only_file(folder).read_text())))
        assert [line["id"] for line in lines] == ["env-=evil", "env-ada", "env-bob", "env-cyd"]
        assert not any(cell.startswith("=") for line in lines for cell in line.values())
        assert [line["state"] for line in lines] == ["online", "online", "offline", "late"]


async def test_what_is_folded_is_exported_too(folder: Path) -> None:
    async with dashboard() as stage:
        await stage.press("b", "p", "enter", "X")
        assert "ada" not in "\n".join(stage.body)
        await export(stage, "json")
        assert len(json.loads(only_file(folder).read_bytes())["environments"]) == 4


async def test_what_differs_from_a_baseline_is_exported_alone(folder: Path) -> None:
    async with dashboard() as stage:
        await stage.press("m", "equals_sign")
        stage.now = 5
        await stage.show([named("ada", currentMode="plan"), *rows()[1:]])
        await export(stage, "json")
        assert [row["name"] for row in json.loads(only_file(folder).read_bytes())["environments"]] == ["ada"]


async def test_while_blind_the_states_are_unknown(folder: Path) -> None:
    async with dashboard() as stage:
        await stage.tick(61)
        await export(stage, "json")
        assert {row["state"] for row in json.loads(only_file(folder).read_bytes())["environments"]} == {"unknown"}


async def test_the_picture_shows_the_screen_without_the_menu(folder: Path) -> None:
    async with dashboard() as stage:
        await export(stage, "svg")
        picture = only_file(folder).read_text()
        assert picture.startswith("<svg")
        text = picture.replace("&#160;", " ")
        assert all(name in text for name in ("STATE", "ada", "bob", "cyd", "○ off"))
        assert "Export rows or screen" not in text


async def test_an_empty_fleet_can_be_exported_even_before_the_first_listing(folder: Path) -> None:
    async with staged() as stage:
        await export(stage, "json")
        assert json.loads(only_file(folder).read_bytes())["environments"] == []
        only_file(folder).unlink()
        await stage.show([])
        await export(stage, "csv")
        assert only_file(folder).read_text().count("\n") == 1


async def test_two_exports_in_one_second_are_two_files(folder: Path) -> None:
    async with dashboard() as stage:
        await export(stage, "json")
        await export(stage, "json")
        assert len(files(folder)) == 2


async def test_a_folder_that_takes_no_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")  # where not even root can write
    async with dashboard() as stage:
        await export(stage, "json")
        assert stage.news.startswith("cannot export here: ")
        assert stage.news.endswith("; start envwatch in a folder where you may write")
        assert stage.app.is_running


async def test_a_folder_that_was_removed_meanwhile_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = folder / "gone"
    here.mkdir()
    async with dashboard() as stage:
        monkeypatch.chdir(here)
        here.rmdir()
        await export(stage, "json")
        assert stage.news.startswith("cannot export here: No such file or directory; start")
        assert stage.app.is_running
