"""Views in the real program: start, keys, profiles, small screens, refusals."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.pty_terminal import Terminal
from support.still_server import still_server

from envwatch.cli.demo_settings import VIEW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.demo.server import Server

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"

CONFIG = """
[views.team]
key = "V"
filter = "os:linux"
columns = ["name", "meta.team", "version"]
sort = "meta.team"
group = "meta.team"

[profiles.work]
api_key_env = "LETTA_API_KEY"

[profiles.work.views.team]
key = "W"
filter = "os:darwin"

[keys]
find.late = "f6"
view.team = ["V", "f7"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with still_server(size=40, key=KEY) as running:
        yield running


@contextmanager
def dashboard(
    server: Server, home: Path, *arguments: str, config: str = CONFIG, columns: int = 100, **more: str
) -> Iterator[Terminal]:
    path = home / "config.toml"
    path.write_text(config)
    environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "ENVWATCH_CONFIG": str(path), **more}
    environ["XDG_STATE_HOME"] = str(home / "state")
    options = ("--interval", "60", *arguments)
    with Terminal.of_envwatch(*options, home=home, columns=columns, lines=24, environ=environ) as terminal:
        yield terminal


def block_of(terminal: Terminal) -> list[str]:
    return [line[2:] for line in terminal.display[1:] if line.startswith("▌")]


def test_a_view_is_chosen_by_its_key_changed_restored_and_left(server: Server, tmp_path: Path) -> None:
    with dashboard(server, tmp_path) as terminal:
        terminal.wait_for(r"○ [0-9]+ off")
        terminal.wait_for("^.►")
        block = block_of(terminal)
        assert block
        terminal.press("V")
        terminal.wait_for("^ view team")
        terminal.wait_for(r" [0-9]+/40 VIEW team ")
        terminal.wait_for("NAME +META.TEAM")
        terminal.wait_for("▾ meta.team agents ")
        assert block_of(terminal) == block
        terminal.press("\x1b[17~")  # F6
        terminal.wait_for(r" late [0-9]+/40 VIEW team\* ")
        terminal.press("\x1b[18~")  # F7
        terminal.wait_for(r" [0-9]+/40 VIEW team ")
        terminal.press("0")
        terminal.wait_for("view reset")
        assert "VIEW" not in terminal.text
        assert "META.TEAM" not in terminal.text
        assert block_of(terminal) == block
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    state = tmp_path / "state" / "envwatch" / "state.json"
    assert not state.exists() or not json.loads(state.read_text()).get("columns")


@pytest.mark.parametrize("start", [("--view", "team"), ()])
def test_a_dashboard_starts_with_a_view(start: tuple[str, ...], server: Server, tmp_path: Path) -> None:
    more = {} if start else {"ENVWATCH_VIEW": "team"}
    with dashboard(server, tmp_path, *start, columns=80, **more) as terminal:
        terminal.wait_for(r" [0-9]+/40 VIEW team ")
        terminal.wait_for("▾ meta.team agents ")


def test_a_profile_has_its_own_view_of_the_same_name(server: Server, tmp_path: Path) -> None:
    with dashboard(
        server, tmp_path, "--profile", "work", "--view", "team", config=CONFIG.partition("[keys]")[0]
    ) as tty:
        tty.wait_for("VIEW team ")
        assert "META.TEAM" not in tty.text
        tty.press("V")
        tty.wait_for("V does nothing here")


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "vt100"}, {"LC_ALL": "C"}])
def test_a_view_is_named_without_colours_and_in_ascii(more: dict[str, Any], server: Server, tmp_path: Path) -> None:
    with dashboard(server, tmp_path, "--view", "team", "--ascii", **more) as terminal:
        terminal.wait_for(r"/40 VIEW team ")
        assert "meta.team agents" in terminal.text


def test_a_mistake_is_named_with_file_and_line_at_the_start(server: Server, tmp_path: Path) -> None:
    with dashboard(server, tmp_path, config='[views.gpu]\nkey = "n"\n', columns=160) as terminal:
        assert terminal.wait_for_end() == 2
        terminal.wait_for(r":2: views.gpu.key is the key of find.next_problem already")


def test_the_demo_has_a_view_with_a_key_of_its_metadata(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Terminal.of_envwatch("demo", "--no-hints", home=tmp_path, columns=80, lines=24, environ=environ) as terminal:
        terminal.wait_for("^.►")
        terminal.press("V")
        terminal.wait_for(rf"/4[0-9] VIEW {VIEW} ")
        terminal.wait_for("▾ meta.team ")
