"""The handover report: requested in the palette, read from the history, shown and written."""

from __future__ import annotations

import re
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from support.app_harness import Stage, running, staged
from support.builders import NOW, beating, key_of, listed
from support.idle import held_by_the_test
from support.memory_history import MemoryHistory, recorded
from support.recording import record
from support.rewinding import BACK, LIFE, is_travelling, lived, press, rows, show, until

from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import HistoryError
from envwatch.history.stored import Retention, StoredPast
from envwatch.history.writer import FolderWriter
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.tui.arguments import Replay
from envwatch.tui.screens.command_palette import Commands
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.dialogs import Menu
from envwatch.tui.screens.plain_text import NO_HISTORY, HandoverScreen
from envwatch.tui.widgets.problem_block import PresentLines
from envwatch.views.report.document import markdown_of
from envwatch.views.report.period import recorded_in
from envwatch.views.report.sections import report_of
from envwatch.watch.loop import Decisions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from envwatch.history.past import Past
    from envwatch.model.outcome import Listed, RecordedPoll

HOUR_MS = 3_600_000


class Unreadable(MemoryHistory):
    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:  # noqa: ARG002
        raise HistoryError("the disk is gone")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    started = tmp_path / "started"
    started.mkdir()
    monkeypatch.chdir(started)
    return started


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def text_of(folder: Path) -> str:
    (path,) = files(folder)
    return path.read_text(encoding="utf-8")


async def open_menu(stage: Stage) -> None:
    await stage.app.run_action("handover")
    await stage.turns()


async def ask(stage: Stage, *keys: str) -> HandoverScreen:
    await open_menu(stage)
    await stage.press(*keys, "enter")
    screen = stage.app.screen
    assert isinstance(screen, HandoverScreen)
    await until(stage, lambda: not screen.query_one("#handover-answer").display)
    return screen


def expected(past: Past, at: float, hours: int, host: str = "api.example", profile: str = "default") -> str:
    since, end = WallMs(at - hours * HOUR_MS), WallMs(at)
    what = recorded_in(past, since, end, profile=clean(profile), host=clean(host))
    assert what is not None
    return markdown_of([report_of(what)])


def shown(stage: Stage) -> list[str]:
    """Return the lines below the status line and the newest loss."""
    return [line.strip() for line in stage.lines[stage.app.screen.query_one(PresentLines).region.bottom :]]


async def test_the_palette_offers_the_report_and_the_menu_begins_with_a_shift() -> None:
    async with lived() as stage:
        (hit,) = [hit async for hit in Commands(stage.app.screen).search("handover")]
        assert hit.text == "Handover report of the last hours …"
        await open_menu(stage)
        assert isinstance(stage.app.screen, Menu)
        assert re.findall(r"│ (\d+) h ", stage.text) == ["1", "4", "8", "12", "24"]
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)


async def test_it_is_the_report_of_the_command_on_as_many_hours_as_were_chosen(folder: Path) -> None:
    history = MemoryHistory()
    recorded((listed(rows(NOW - hours * HOUR_MS), NOW - hours * HOUR_MS) for hours in (10, 6)), history)
    async with lived(history=history, size=(400, 60)) as stage:
        for keys, hours in (((), 8), (("down",), 12), (("up",), 4)):
            await ask(stage, *keys)
            text = expected(history, stage.at, hours)
            assert f"({hours}h)" in text
            assert shown(stage)[: len(text.splitlines())] == text.splitlines(), hours
            await stage.press("escape")
            assert isinstance(stage.app.screen, Dashboard)
    assert not files(folder)


async def test_w_writes_all_of_it_to_a_file_and_says_where(folder: Path) -> None:
    history = MemoryHistory()
    async with lived(history=history, size=(80, 12)) as stage:
        await ask(stage)
        await stage.press("w")
        await until(stage, lambda: "exported to" in stage.text)
        (path,) = files(folder)
        assert path.suffix == ".md"
        assert text_of(folder) == expected(history, stage.at, 8)
        assert f"exported to {path.name}: the report on the last 8 h" in shown(stage)


async def test_a_folder_that_takes_no_file_says_so_under_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")  # where not even root can write
    async with lived() as stage:
        await ask(stage)
        await stage.press("w")
        await until(stage, lambda: "cannot export here: " in stage.text)
        assert isinstance(stage.app.screen, HandoverScreen)


async def test_a_history_on_a_disk_is_read(tmp_path: Path) -> None:
    def an_outage() -> Iterator[Listed]:
        for at in range(int(NOW) - 900_000, int(NOW) + 1, 5_000):
            lost = {"connectionId": None, "podId": None} if at > NOW - 300_000 else {}
            yield listed([*beating(2, at), *beating(3, at, **lost)[2:]], at)

    path = tmp_path / "history"
    writer = FolderWriter(path, Retention())
    record(writer, an_outage())
    writer.close()
    past = StoredPast(path)
    async with staged((100, 40), pasts={NO_PROFILE: past}) as stage:
        await stage.show(beating(3))
        await ask(stage)
        assert "## Still down: 1" in shown(stage)
        assert any(line.startswith("- `laptop of env-3` offline since 08:48") for line in shown(stage))


async def test_an_acknowledgement_that_no_poll_has_recorded_yet_is_in_the_report() -> None:
    async with lived(size=(120, 24)) as stage:
        key = key_of("env-2")
        stage.watch.decide(Decisions(acks={key: Ack(stage.at, clean("Ana looks"))}))
        stage.app.republish()
        await ask(stage)
        assert "acknowledged: `Ana looks`" in stage.text


async def test_in_the_past_it_ends_with_the_moment_that_is_shown() -> None:
    history = MemoryHistory()
    async with lived(history=history, size=(400, 60)) as stage:
        await press(stage, BACK, BACK)
        await ask(stage)
        text = expected(history, NOW + 10_000, 8)
        assert text != expected(history, stage.at, 8)
        assert shown(stage)[: len(text.splitlines())] == text.splitlines()


async def test_a_replay_reports_on_its_recording_under_the_names_in_it() -> None:
    history = recorded(listed(rows(NOW + at * 1000, *lost), NOW + at * 1000) for at, lost in LIFE)
    replay = Replay(name="night.envwatch", profile="acme", host="api.acme", plays=False)
    stage = Stage(targets={}, pasts={NO_PROFILE: history}, replay=replay)
    stage.now = 86_400
    async with running(stage, (400, 60)):
        await until(stage, lambda: not is_travelling(stage) and stage.names)
        await press(stage, "L")
        await ask(stage)
        text = expected(history, NOW + 20_000, 8, "api.acme", "acme")
        assert shown(stage)[: len(text.splitlines())] == text.splitlines()


async def test_without_a_history_it_says_what_it_needs_and_what_is_there_instead() -> None:
    async with staged((120, 24)) as stage:
        await stage.show(rows(stage.at))
        await open_menu(stage)
        assert stage.news == NO_HISTORY
        assert isinstance(stage.app.screen, Dashboard)


@pytest.mark.parametrize(
    ("history", "why"),
    [
        (MemoryHistory(), "- `default`: nothing was recorded of it in that time"),
        (Unreadable(), "- `default`: its history cannot be read: `the disk is gone`"),
    ],
)
async def test_where_nothing_can_be_reported_it_says_why_what_to_do_and_writes_nothing(
    history: MemoryHistory, why: str, folder: Path
) -> None:
    async with staged(pasts={NO_PROFILE: history}) as stage:
        await stage.show(rows(stage.at))
        await ask(stage)
        assert shown(stage)[:2] == ["There is no report on the last 8 h:", why]
        assert "esc goes back; e has the events since the start" in stage.text
        await stage.press("w")
        assert "nothing to write: there is no report" in shown(stage)
    assert not files(folder)


async def test_profiles_that_cannot_be_reported_are_named_after_those_that_can() -> None:
    names = [clean(name) for name in ("home", "lab", "work")]
    history = MemoryHistory(names[2])
    pasts = {names[1]: Unreadable(), names[2]: history}
    async with staged((100, 40), profiles=names, pasts=pasts, record=history.record) as stage:
        for name in names:
            await stage.show(rows(stage.at), name)
        await ask(stage)
        text = "\n".join(shown(stage))
        assert text.startswith("# envwatch: `work` on `api.example`\n")
        assert "# envwatch: `home`" not in text
        assert (
            "\n## Not in this report\n- `home`: no history is kept of it (history = false)\n"
            "- `lab`: its history cannot be read: `the disk is gone`\n"
        ) in text


class Slow(MemoryHistory):
    def __init__(self) -> None:
        super().__init__()
        self.may_go = threading.Event()

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        with held_by_the_test():
            assert self.may_go.wait(30)
        return super().polls(since, until)


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[Stage, Slow]]:
    history = Slow()
    async with staged(pasts={NO_PROFILE: history}, record=history.record) as stage:
        try:
            await show(stage, 5)
            await open_menu(stage)
            await stage.press("enter")
            yield stage, history
        finally:
            history.may_go.set()


async def test_while_it_is_read_the_screen_says_so_and_every_key_works() -> None:
    async with reading() as (stage, history):
        assert "reading the history for the report on the last 8 h" in shown(stage)
        await stage.press("w")
        assert "nothing to write: still reading the history" in shown(stage)
        history.may_go.set()
        await until(stage, lambda: shown(stage)[0].startswith("# envwatch: "))
        assert "reading the history" not in stage.text


async def test_it_can_be_left_while_it_is_read() -> None:
    async with reading() as (stage, history):
        await stage.press("escape")
        assert isinstance(stage.app.screen, Dashboard)
        history.may_go.set()
        await show(stage, 10)
        assert stage.app.is_running


async def test_in_ascii_a_name_is_spelled_on_the_screen_and_exact_in_the_file(folder: Path) -> None:
    history = MemoryHistory()
    async with staged((100, 40), pasts={NO_PROFILE: history}, record=history.record, ascii_only=True) as stage:
        await stage.show(beating(1, stage.at, connectionName="東京-a", connectionId=None))
        await ask(stage)
        assert "`\\u6771\\u4eac-a` offline since" in stage.text
        await stage.press("w")
        await until(stage, lambda: "exported to" in stage.text)
        assert "`東京-a` offline since" in text_of(folder)
