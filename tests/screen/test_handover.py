"""The handover report: requested in the palette, read from the history, shown and written."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest
from support.app_harness import Stage, running, staged
from support.builders import NOW, beating, key_of, listed
from support.memory_history import MemoryHistory, recorded
from support.quick_apps import held_by_the_test
from support.rewinding import BACK, LIFE, is_travelling, lived, press, rows, show, until

from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import HistoryError
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.screen.arguments import Replay
from envwatch.screen.screens.command_palette import Commands
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.dialogs import Menu
from envwatch.screen.screens.plain_text import NO_HISTORY, HandoverScreen
from envwatch.screen.widgets.problem_block import PresentLines
from envwatch.views.report.document import render_markdown
from envwatch.views.report.period import recorded_in
from envwatch.views.report.sections import build_report
from envwatch.watch.loop import Decisions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from envwatch.history.past import Past
    from envwatch.model.outcome import RecordedPoll

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
    return render_markdown([build_report(what)])


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


async def test_the_report_is_the_report_of_the_command_on_the_chosen_hours_up_to_the_visible_moment(
    folder: Path,
) -> None:
    history = MemoryHistory()
    recorded((listed(rows(NOW - hours * HOUR_MS), NOW - hours * HOUR_MS) for hours in (10, 6)), history)
    async with lived(history=history, size=(400, 60)) as stage:
        for keys, hours in (((), 8), (("down",), 12)):
            await ask(stage, *keys)
            text = expected(history, stage.at, hours)
            assert f"({hours}h)" in text
            assert shown(stage)[: len(text.splitlines())] == text.splitlines(), hours
            await stage.press("escape")
            assert isinstance(stage.app.screen, Dashboard)
        assert not files(folder)
        await press(stage, BACK, BACK)
        await ask(stage, "up")
        rewound = expected(history, NOW + 10_000, 4)
        assert rewound != expected(history, stage.at, 4)
        assert shown(stage)[: len(rewound.splitlines())] == rewound.splitlines()


async def test_w_writes_all_of_the_report_to_a_file_and_says_where(folder: Path) -> None:
    history = MemoryHistory()
    async with lived(history=history, size=(80, 12)) as stage:
        await ask(stage)
        await stage.press("w")
        await until(stage, lambda: "exported to" in stage.text)
        (path,) = files(folder)
        assert path.suffix == ".md"
        assert text_of(folder) == expected(history, stage.at, 8)
        assert f"exported to {path.name}: the report on the last 8 h" in shown(stage)


async def test_a_folder_without_rights_is_named_under_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")  # where not even root can write
    async with lived() as stage:
        await ask(stage)
        await stage.press("w")
        await until(stage, lambda: "cannot export here: " in stage.text)
        assert isinstance(stage.app.screen, HandoverScreen)


async def test_an_acknowledgement_since_the_last_poll_is_in_the_report() -> None:
    async with lived(size=(120, 24)) as stage:
        key = key_of("env-2")
        stage.watch.decide(Decisions(acks={key: Ack(stage.at, clean("Ana looks"))}))
        stage.app.republish()
        await ask(stage)
        assert "acknowledged: `Ana looks`" in stage.text


async def test_a_replay_reports_on_its_recording_under_the_recorded_names() -> None:
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


async def test_without_a_history_the_report_names_the_setting() -> None:
    async with staged((120, 24)) as stage:
        await stage.show(rows(stage.at))
        await open_menu(stage)
        assert stage.news == NO_HISTORY
        assert isinstance(stage.app.screen, Dashboard)


async def test_without_a_record_the_report_says_what_to_do_and_is_not_written(folder: Path) -> None:
    async with staged(pasts={NO_PROFILE: MemoryHistory()}) as stage:
        await stage.show(rows(stage.at))
        await ask(stage)
        why = "- `default`: nothing was recorded of it in that time"
        assert shown(stage)[:2] == ["There is no report on the last 8 h:", why]
        assert "esc goes back; e has the events since the start" in stage.text
        await stage.press("w")
        assert "nothing to write: there is no report" in shown(stage)
    assert not files(folder)


async def test_profiles_without_a_report_are_named_at_the_end() -> None:
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


async def test_the_report_can_be_left_while_the_history_is_read() -> None:
    history = Slow()
    async with staged(pasts={NO_PROFILE: history}, record=history.record) as stage:
        try:
            await show(stage, 5)
            for _ in range(2):
                await open_menu(stage)
                await stage.press("enter")
                assert "reading the history for the report on the last 8 h" in shown(stage)
                await stage.press("w")
                assert "nothing to write: still reading the history" in shown(stage)
                await stage.press("escape")
                assert isinstance(stage.app.screen, Dashboard)
            await open_menu(stage)
            await stage.press("enter")
            history.may_go.set()
            await until(stage, lambda: shown(stage)[0].startswith("# envwatch: "))
            assert "reading the history" not in stage.text
        finally:
            history.may_go.set()


async def test_in_ascii_a_name_is_spelled_on_the_screen_and_exact_in_the_file(folder: Path) -> None:
    history = MemoryHistory()
    async with staged((100, 40), pasts={NO_PROFILE: history}, record=history.record, ascii_only=True) as stage:
        await stage.show(beating(1, stage.at, connectionName="東京-a", connectionId=None))
        await ask(stage)
        assert "`\\u6771\\u4eac-a` offline since" in stage.text
        await stage.press("w")
        await until(stage, lambda: "exported to" in stage.text)
        assert "`東京-a` offline since" in text_of(folder)
