"""The advice in the detail pane of the real program by kind of row, and the offered copies."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import wire_row
from support.byte_scanner import credentials, serving, wait_for_clipboard
from support.pty_terminal import ESC, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOWN: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "connectedAt": None}
METADATA: dict[str, Any] = wire_row()["metadata"]


@contextmanager
def dashboard(home: Path, **changes: Any) -> Iterator[Terminal]:
    now = time.time() * 1000
    beat = {"lastHeartbeat": now, "lastSeenAt": now, "firstSeenAt": now - 86_400_000, "connectedAt": now - 60_000}
    newest = {"metadata": METADATA | {"lettaCodeVersion": "0.35.0"}}
    healthy = [wire_row(f"zz-{number}", connectionName=f"zz-{number}", **beat, **newest) for number in (1, 2)]
    with (
        serving([wire_row("env-1", **(beat | {"connectionName": "nas"} | changes)), *healthy]) as server,
        Terminal.of_envwatch(home=home, columns=160, lines=50, environ=credentials(server)) as terminal,
    ):
        terminal.wait_for("zz-2")
        terminal.press("g")
        terminal.wait_for("mode +standard")
        yield terminal


def pane(terminal: Terminal) -> str:
    starts = [line.rpartition("▏")[2] for line in terminal.display]
    return re.sub(" +", " ", " ".join(starts))


def copied(terminal: Terminal, letter: str) -> None:
    before = len(terminal.received)
    terminal.press("y", letter)
    wait_for_clipboard(terminal, before)


def test_a_listener_that_ended_is_started_by_a_command_and_its_log_says_why(tmp_path: Path) -> None:
    with dashboard(tmp_path, **DOWN) as terminal:
        terminal.wait_for("letta server --computer-name=nas +y l")
        words = pane(terminal)
        assert "or letta server --org=org-1 \\ y o --computer-name=nas the device id does not tell" in words
        assert "the command ends and names a pid if a listener runs on that machine" in words
        assert 'log ~/.letta/logs/remote/ on that machine look for 401, 403, "Replaced"' in words
        copied(terminal, "l")
        terminal.press("E")
        terminal.wait_for("why . E goes back")
        words = pane(terminal)
        assert "A listener ends if the server refuses the key (401, 403)" in words
        assert "the newest complete listing has the row" in words


@pytest.mark.parametrize(
    "changes",
    [
        {"listenerInstanceId": "desktop-direct-cloud:1"},
        {"deviceId": "desktop:1", "listenerInstanceId": "desktop-primary:1"},
        {"organizationId": "local"},
    ],
    ids=["cloud", "primary", "local"],
)
def test_a_row_of_the_desktop_app_gets_advice_for_the_desktop_app(changes: dict[str, Any], tmp_path: Path) -> None:
    with dashboard(tmp_path, **DOWN, **changes) as terminal:
        terminal.wait_for("do +open the Letta Code desktop app")
        assert "letta server" not in terminal.text
        assert "/logs/" not in terminal.text
        terminal.press("y")
        terminal.wait_for("Copy from nas")
        assert "start command" not in terminal.text


def test_a_sentence_about_an_update_is_no_command(tmp_path: Path) -> None:
    text = "Upgrade with your installer: uv tool upgrade letta"
    metadata = METADATA | {"self_update": {"supported": False, "writable": False, "manual_command": text}}
    with dashboard(tmp_path, metadata=metadata) as terminal:
        terminal.wait_for("update +Upgrade with your installer")
        words = pane(terminal)
        assert f"update {text} the machine's own words" in words
        assert "y u" not in words
        terminal.press("y")
        terminal.wait_for("Copy from nas")
        assert "update command" not in terminal.text
        terminal.press(ESC)


def test_a_command_for_an_update_is_offered_with_a_warning(tmp_path: Path) -> None:
    metadata = METADATA | {"self_update": {"supported": False, "manual_command": "npm i -g x"}}
    with dashboard(tmp_path, metadata=metadata) as terminal:
        terminal.wait_for("update +npm i -g x +y u")
        assert "read the command before you run it" in pane(terminal)
        copied(terminal, "u")


def test_a_listener_that_was_started_for_an_organization_is_started_for_this_organization(tmp_path: Path) -> None:
    with dashboard(tmp_path, **DOWN, organizationId="org-9", deviceId="5b491561437b4f0e9c7d0a1b2c3d4e5f") as terminal:
        terminal.wait_for("letta server --org=org-9")
        assert "or letta server" not in pane(terminal)
