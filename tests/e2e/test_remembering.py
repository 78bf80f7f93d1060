"""What the real program remembers from one run to the next, and what it does not."""

from __future__ import annotations

import json
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.pty_terminal import ENTER, Terminal

from envwatch.demo.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(size=40, seed=7, key=KEY) as running:
        yield running


@contextmanager
def dashboard(server: Server, home: Path, columns: int = 140) -> Iterator[Terminal]:
    """A dashboard that is slow to poll, whose state lies in a folder of its own; it is quit at the end."""
    environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "XDG_STATE_HOME": str(home / "state")}
    with Terminal.of_envwatch("--interval", "60", home=home, columns=columns, environ=environ) as terminal:
        terminal.wait_for(r"○ [0-9]+ off")
        terminal.wait_for("^▌")
        yield terminal
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def header(terminal: Terminal) -> str:
    """The line over the table, up to the pane beside it."""
    return terminal.display[1].partition("▏")[0]


def kept(home: Path, name: str) -> dict[str, Any]:
    """What a file of state holds."""
    path = home / "state" / "envwatch" / name
    if not path.exists():
        return {}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


def find(terminal: Terminal, name: str) -> None:
    """Filter for one environment, and let the cursor stand on it."""
    terminal.press(f"/{name}")
    terminal.wait_for(" 1/[0-9]+ ")
    terminal.press(ENTER)
    terminal.wait_for("/ Filter")
    terminal.wait_for(rf"^▌○ off +\S+ {name} ")


def acknowledge_quickly(terminal: Terminal, name: str, note: str = "") -> None:
    find(terminal, name)
    terminal.press("a")
    terminal.wait_for(f"Acknowledge {name}, until it recovers")
    terminal.press(f"{note}{ENTER}")


def acknowledge(terminal: Terminal, name: str, note: str) -> None:
    acknowledge_quickly(terminal, name, note)
    terminal.wait_for(f"acknowledged until it recovers: {name}")
    terminal.press("0")
    terminal.wait_for_no("[0-9]/[0-9]+  ")


def test_a_problem_that_was_acknowledged_with_a_note_still_is_in_the_next_run_until_it_is_withdrawn(
    server: Server, tmp_path: Path
) -> None:
    with dashboard(server, tmp_path) as terminal:
        acknowledge(terminal, "old-jenkins-21", "waits for a new disk")
        terminal.wait_for("1 acked")
    ((id_, ack),) = kept(tmp_path, "acknowledged.json").items()
    assert id_.startswith("env-")
    assert ack["note"] == "waits for a new disk"
    with dashboard(server, tmp_path) as terminal:
        terminal.wait_for("1 acked")
        find(terminal, "old-jenkins-21")
        terminal.wait_for(r"▏ acked +[0-9]+s ago")
        terminal.wait_for(r"▏ note +waits for a new disk")
        terminal.press("a")
        terminal.wait_for("Withdraw")
        terminal.press("\x12")
        terminal.wait_for("no longer acknowledged: old-jenkins-21")
        terminal.wait_for_no("1 acked")
    assert kept(tmp_path, "acknowledged.json") == {}
    with dashboard(server, tmp_path) as terminal:
        find(terminal, "old-jenkins-21")
        terminal.wait_for("▏ why ")
        assert not re.search("acked|new disk", terminal.text)


def test_of_two_instances_at_once_neither_loses_what_the_other_acknowledged(server: Server, tmp_path: Path) -> None:
    with dashboard(server, tmp_path) as one, dashboard(server, tmp_path) as other:
        acknowledge(one, "old-jenkins-21", "by one")
        acknowledge(other, "qa-bench-25", "by the other")
        acknowledge(one, "db-replica-23", "by one as well")
    notes = {ack["note"] for ack in kept(tmp_path, "acknowledged.json").values()}
    assert notes == {"by one", "by the other", "by one as well"}
    with dashboard(server, tmp_path) as terminal:
        terminal.wait_for("3 acked")


def test_columns_and_bell_are_those_of_the_last_run(server: Server, tmp_path: Path) -> None:
    with dashboard(server, tmp_path) as terminal:
        usual = header(terminal)
        assert not re.search("KEY OWNER|FIRST", usual)
        terminal.press("B")
        terminal.wait_for("bell on: rings when an environment has been down for 10 s")
        terminal.press("C")
        terminal.wait_for("Columns, after STATE and NAME")
        wanted = {"KEY OWNER", "FIRST"}
        for mark, title in re.findall(r"\[([x ])\] ([A-Z ]*[A-Z])", terminal.text):
            terminal.press(" j" if (mark == "x") != (title in wanted) else "j")
        terminal.press("KK", ENTER)
        terminal.wait_for("^ STATE  BEAT NAME +KEY OWNER +FIRST.*▏")
        chosen = header(terminal).split()
    assert kept(tmp_path, "state.json") == {"bell": True, "columns": ["state", "name", "owner", "first"]}
    with dashboard(server, tmp_path) as terminal:
        terminal.wait_for("^ STATE  BEAT NAME +KEY OWNER +FIRST.*▏")
        assert header(terminal).split() == chosen
        terminal.wait_for(r" bell ")
        terminal.press("B")
        terminal.wait_for("bell off")
        terminal.press("C")
        terminal.wait_for("Columns, after STATE and NAME")
        terminal.press("0")
        terminal.wait_for("columns: those that fit")
    with dashboard(server, tmp_path) as terminal:
        assert header(terminal) == usual
        assert " bell " not in terminal.display[0]


def test_what_was_acknowledged_in_the_demo_is_forgotten_with_it_but_not_how_it_looked(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Terminal.of_envwatch("demo", "--seed", "7", home=tmp_path, columns=140, environ=environ) as terminal:
        terminal.wait_for("^▌")
        acknowledge(terminal, "old-jenkins-21", "only a demo")
        terminal.wait_for("1 acked")
        terminal.press("B")
        terminal.wait_for("bell on")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    assert kept(tmp_path, "acknowledged.json") == {}
    assert kept(tmp_path, "state.json") == {"bell": True}
    with Terminal.of_envwatch("demo", "--seed", "7", home=tmp_path, columns=140, environ=environ) as terminal:
        terminal.wait_for("○ [0-9]+ off")
        find(terminal, "old-jenkins-21")
        terminal.wait_for("▏ why ")
        assert not re.search("acked|only a demo", terminal.text)
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_a_folder_in_which_nothing_can_be_kept_is_told_on_the_screen_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "state").touch()  # a file where the folder should be
    with dashboard(server, tmp_path) as terminal:
        acknowledge_quickly(terminal, "old-jenkins-21")
        terminal.wait_for("cannot remember which problems were acknowledged: Not a directory ")
        terminal.wait_for("1 acked")
        terminal.press("a")
        terminal.wait_for("Withdraw")
        terminal.press("\x12")
        terminal.wait_for("no longer acknowledged: old-jenkins-21")
        terminal.press("B")
        terminal.wait_for("cannot remember how the screen looked: Not a directory ")
        terminal.press("0B")
        terminal.wait_for("bell off")


@pytest.mark.parametrize("name", ["state", "acknowledged"])
def test_a_damaged_file_is_told_on_the_screen_and_set_aside_with_the_next_change(
    server: Server, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "state" / "envwatch" / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"env-1": {"at": 1, "no')
    with dashboard(server, tmp_path) as terminal:
        terminal.wait_for("forgot (how the screen looked|which problems were acknowledged): damaged ")
        if name == "state":
            terminal.press("B")
        else:
            acknowledge_quickly(terminal, "old-jenkins-21")
        terminal.wait_for(f"set aside what was damaged: .*{name}")
    assert path.with_name(f"{name}.json.damaged").read_text() == '{"env-1": {"at": 1, "no'
    assert len(kept(tmp_path, f"{name}.json")) == 1
