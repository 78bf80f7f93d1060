"""State that the real program keeps between runs, and state that is dropped."""

from __future__ import annotations

import json
import re
import stat
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.budget import first_quick
from support.demo_screen import titles_line
from support.own_keys import own_keys
from support.pty_terminal import ENTER, Terminal, environment
from support.still_server import still_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.demo.server import Server

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with still_server(size=40, key=KEY) as running:  # columns have the same width in every run
        yield running


@contextmanager
def dashboard(server: Server, home: Path, columns: int = 140) -> Iterator[Terminal]:
    environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "XDG_STATE_HOME": str(home / "state")}
    environ |= own_keys(home)
    with Terminal.of_envwatch("--interval", "60", home=home, columns=columns, lines=26, environ=environ) as terminal:
        terminal.wait_for(r"○ [0-9]+ off")
        terminal.wait_for("^.►")
        yield terminal
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def header(terminal: Terminal) -> str:
    return terminal.display[titles_line(terminal)].partition("▏")[0]


def kept(home: Path, name: str) -> dict[str, Any]:
    path = home / "state" / "envwatch" / name
    if not path.exists():
        return {}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


def wait_for_mark(terminal: Terminal, name: str) -> None:
    terminal.wait_for(rf"^.►○ off .* {name} +✓ ")


def find(terminal: Terminal, name: str) -> None:
    terminal.press(f"/{name[:4]}")
    terminal.wait_for(" 1/[0-9]+ ")
    terminal.press(ENTER)
    terminal.wait_for("/ Filter")
    terminal.press("G")  # below the block, which no filter changes
    terminal.wait_for(rf"^.►○ off .* {name} ")


def acknowledge_quickly(terminal: Terminal, name: str, note: str = "") -> None:
    find(terminal, name)
    terminal.press("a")
    terminal.wait_for(f"Acknowledge {name} on this machine, until it recovers")
    terminal.press(f"{note}{ENTER}")


def acknowledge(terminal: Terminal, name: str, note: str) -> None:
    acknowledge_quickly(terminal, name, note)
    terminal.wait_for(f"acknowledged on this machine until it recovers: {name}")
    wait_for_mark(terminal, name)
    terminal.press("0")
    terminal.wait_for_no("[0-9]/[0-9]+  ")


def test_a_problem_that_was_acknowledged_with_a_note_still_is_in_the_next_run_until_it_is_withdrawn(
    server: Server, tmp_path: Path
) -> None:
    with dashboard(server, tmp_path) as terminal:
        acknowledge(terminal, "old-jenkins-21", "waits for a new disk")
    ((name, ack),) = kept(tmp_path, "acknowledged.json").items()
    assert ack["id"].startswith("env-")
    assert name == f"{ack['server']} {ack['id']}"
    assert ack["note"] == "waits for a new disk"
    with dashboard(server, tmp_path) as terminal:
        find(terminal, "old-jenkins-21")
        wait_for_mark(terminal, "old-jenkins-21")
        terminal.wait_for(r"▏ acked +(just now|[0-9]+m ago) on this machine: waits")
        terminal.press("a")
        terminal.wait_for("Withdraw")
        terminal.press("\x12")
        terminal.wait_for("no longer acknowledged: old-jenkins-21")
        terminal.wait_for_no("✓|acked")
    (ended,) = kept(tmp_path, "acknowledged.json").values()
    assert ended["until"] <= time.time() * 1000
    with dashboard(server, tmp_path) as terminal:
        find(terminal, "old-jenkins-21")
        terminal.wait_for("▏ no live connection")
        assert not re.search("acked|new disk", terminal.text)


@pytest.mark.slow
def test_two_instances_at_once_keep_each_others_acknowledgements(server: Server, tmp_path: Path) -> None:
    with dashboard(server, tmp_path) as one, dashboard(server, tmp_path) as other:
        acknowledge(one, "old-jenkins-21", "by one")
        acknowledge(other, "qa-bench-25", "by the other")
        acknowledge(one, "db-replica-23", "by one as well")
    notes = {ack["note"] for ack in kept(tmp_path, "acknowledged.json").values()}
    assert notes == {"by one", "by the other", "by one as well"}
    with dashboard(server, tmp_path) as terminal:
        for name in ("old-jenkins-21", "qa-bench-25", "db-replica-23"):
            find(terminal, name)
            wait_for_mark(terminal, name)
            terminal.press("0")
            terminal.wait_for_no("[0-9]/[0-9]+  ")


def test_decisions_of_another_process_are_on_a_running_dashboard_with_the_next_poll(
    server: Server, tmp_path: Path
) -> None:
    name = "old-jenkins-21"
    variables = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "XDG_STATE_HOME": str(tmp_path / "state")}

    def run(*arguments: str) -> None:
        done = programs.run([sys.executable, "-m", "envwatch", *arguments], environment(tmp_path, **variables))
        assert done.returncode == 0, done.stderr

    with dashboard(server, tmp_path) as reader:
        find(reader, name)
        with dashboard(server, tmp_path) as writer:
            acknowledge(writer, name, "by another")
        reader.press("r")
        wait_for_mark(reader, name)
        run("silence", "--filter", f"name:{name}", "--for", "1h", "--note", "by a command")
        run("alerts", "set", name, "never")
        reader.press("r")
        reader.wait_for("by a command")
        reader.wait_for("needs nobody: never")


def test_columns_and_bell_are_those_of_the_last_run(server: Server, tmp_path: Path) -> None:
    with dashboard(server, tmp_path) as terminal:
        usual = header(terminal)
        assert not re.search("KEY OWNER|UPDATE", usual)
        terminal.press("B")
        terminal.wait_for("bell on: rings when an environment stays down")
        terminal.press("C")
        terminal.wait_for("Columns after NAME")
        wanted = {"KEY OWNER", "UPDATE"}
        marks, titles = zip(*re.findall(r"\[([x ])\] ([A-Z0-9 ]*[A-Z])", terminal.text), strict=True)
        for place, title in enumerate(titles):
            terminal.press(*(["j"] if place else []), *([" "] if (marks[place] == "x") != (title in wanted) else []))
        terminal.press("k" * (len(titles) - 1 - titles.index("UPDATE")), "KK", ENTER)  # UPDATE moves up by two
        terminal.wait_for("^  STATE    FOR BEAT NAME +UPDATE +KEY OWNER.*▏")
        chosen = header(terminal).split()
    assert kept(tmp_path, "state.json") == {"bell": True, "columns": ["state", "name", "update", "owner"]}
    with dashboard(server, tmp_path) as terminal:
        terminal.wait_for("^  STATE    FOR BEAT NAME +UPDATE +KEY OWNER.*▏")
        assert header(terminal).split() == chosen
        terminal.wait_for(r" bell ")
        terminal.press("B")
        terminal.wait_for("bell off")
        terminal.press("C")
        terminal.wait_for("Columns after NAME")
        terminal.press("0")
        terminal.wait_for("columns: as many as fit")
    with dashboard(server, tmp_path) as terminal:
        assert header(terminal) == usual
        assert " bell " not in terminal.display[0]


def test_what_was_acknowledged_in_the_demo_is_forgotten_with_it_but_not_how_it_looked(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    environ |= own_keys(tmp_path)
    with Terminal.of_envwatch("demo", "--no-history", home=tmp_path, columns=140, environ=environ) as terminal:
        terminal.wait_for("^.►")
        acknowledge(terminal, "old-jenkins-21", "only a demo")
        terminal.press("B")
        terminal.wait_for("bell on")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    assert kept(tmp_path, "acknowledged.json") == {}
    assert kept(tmp_path, "state.json") == {"bell": True}
    with Terminal.of_envwatch("demo", "--no-history", home=tmp_path, columns=140, environ=environ) as terminal:
        terminal.wait_for("○ [0-9]+ off")
        find(terminal, "old-jenkins-21")
        terminal.wait_for("▏ no live connection")
        assert not re.search("acked|only a demo", terminal.text)
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_a_folder_that_cannot_be_written_is_reported_on_the_screen_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "state").touch()  # a file where the folder should be
    with dashboard(server, tmp_path) as terminal:
        acknowledge_quickly(terminal, "old-jenkins-21")
        terminal.wait_for(r"cannot remember which problems were acknowledged: Not a directory\s")
        wait_for_mark(terminal, "old-jenkins-21")
        terminal.press("a")
        terminal.wait_for("Withdraw")
        terminal.press("\x12")
        terminal.wait_for("no longer acknowledged: old-jenkins-21")
        terminal.press("B")
        terminal.wait_for(r"cannot remember how the screen looked: Not a directory\s")
        terminal.press("0B")
        terminal.wait_for("bell off")


@pytest.mark.parametrize("name", first_quick(["acknowledged", "state"]))
def test_a_damaged_file_is_reported_on_the_screen_and_set_aside_with_the_next_change(
    server: Server, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "state" / "envwatch" / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"env-1": {"at": 1, "no')
    with dashboard(server, tmp_path) as terminal:
        terminal.wait_for(r"forgot (how the screen looked|which problems were acknowledged): damaged\s")
        if name == "state":
            terminal.press("B")
        else:
            acknowledge_quickly(terminal, "old-jenkins-21")
        terminal.wait_for("set aside what was damaged")
    assert path.with_name(f"{name}.json.damaged").read_text() == '{"env-1": {"at": 1, "no'
    assert len(kept(tmp_path, f"{name}.json")) == 1
