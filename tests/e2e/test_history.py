"""The real program's recordings, and the next run's view: real files, a real terminal, a scripted server."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.builders import listed
from support.faulty_server import Faulty, credentials, down, running, up
from support.pty_terminal import ESC, Terminal, environment
from support.recording import ALWAYS, record

from envwatch.fleet.events import Kind, flatten
from envwatch.history.past import events_of
from envwatch.history.stored import Retention, StoredPast, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs
from envwatch.model.page import environment_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES = ("ana-box", "ben-box", "chen-box", "dora-box", "emil-box")
HOUR = 3_600_000


def listing(now: float, lost: Sequence[str] = (), lost_at: float | None = None, **of_dora: Any) -> list[dict[str, Any]]:
    """Return rows, some down since a moment; `of_dora` changes the row `dora-box`."""
    seen_at = now - 6_000 if lost_at is None else lost_at
    return [
        down(name, seen_at) if name in lost else up(name, now, **(of_dora if name == "dora-box" else {}))
        for name in NAMES
    ]


def folder_of(server: Faulty, home: Path) -> Path:
    return history_folder(home / ".local/state/envwatch", "default", server.url.partition("://")[2])


def past_of(server: Faulty, home: Path) -> StoredPast:
    return StoredPast(folder_of(server, home))


def dashboard(server: Faulty, home: Path, *options: str, columns: int = 80) -> Terminal:
    environ = credentials(server)
    return Terminal.of_envwatch("--interval", "1s", *options, home=home, columns=columns, environ=environ)


def wait_until_recorded(terminal: Terminal, server: Faulty, home: Path, polls: int) -> None:
    terminal.wait_until(lambda: len(past_of(server, home).polls(*ALWAYS)) >= polls, f"{polls} polls")


def test_the_next_run_shows_what_happened_before_and_what_changed_meanwhile(tmp_path: Path) -> None:
    began = time.time() * 1000 - 3 * HOUR
    lost_at = began + 30_000
    server = Faulty(lambda now: listing(now, ("ana-box", "ben-box"), lost_at, currentMode="unrestricted"))
    with running(server):
        writer = FolderWriter(folder_of(server, tmp_path), Retention())
        before = [(0, ()), (30_000, ()), (35_000, ("ana-box",)), (40_000, ("ana-box",))]
        record(
            writer,
            [
                listed([environment_of(row) for row in listing(began + ms, lost, lost_at)], began + ms)
                for ms, lost in before
            ],
        )
        writer.close()
        with dashboard(server, tmp_path) as terminal:
            terminal.wait_for(r"in (2h 59m|3h) since the last run: 1 offline, 1 unrestricted +[0-9]+s ago")
            assert "NEW" not in terminal.text, "hours ago is not lately"
            terminal.press("e")
            terminal.wait_for("^ events +watched since")
            terminal.wait_for(r"○ +ana-box +went offline")
            terminal.press(ESC)
            terminal.wait_for("⏎ Detail")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        past = past_of(server, tmp_path)
        (group,) = (event for event in events_of(past.steps(*ALWAYS)) if event.kind is Kind.WHILE_BLIND)
        assert {(event.kind, event.id) for event in group.members} == {
            (Kind.OFFLINE, "ben-box"),
            (Kind.MODE, "dora-box"),
        }
        runs = {poll.run for poll in past.polls(*ALWAYS)}
        assert runs == {1, 5}

        server.script = lambda now: listing(now, ("ana-box",), lost_at, currentMode="unrestricted")
        with dashboard(server, tmp_path, "--filter", "ben") as terminal:
            terminal.wait_for("● on .* ben-box +BACK")
            terminal.press("q")
            assert terminal.wait_for_end() == 0


@pytest.mark.slow
def test_of_two_dashboards_one_records_and_the_other_takes_over_and_both_show_everything(tmp_path: Path) -> None:
    lost: list[str] = []
    server = Faulty(lambda now: listing(now, lost))
    with running(server), dashboard(server, tmp_path) as one:
        wait_until_recorded(one, server, tmp_path, 2)
        lost += ["ana-box"]
        one.wait_for("ana-box +went offline")
        wait_until_recorded(one, server, tmp_path, 4)
        with dashboard(server, tmp_path) as other:
            other.wait_for("ana-box +went offline")
            other.wait_for("○ off +[0-9]+s NEW +ana-box ")
            lost += ["ben-box"]
            for terminal in (one, other):
                terminal.wait_for("ben-box +went offline")
            past = past_of(server, tmp_path)
            assert len({poll.run for poll in past.polls(*ALWAYS)}) == 1
            one.hang_up()
            other.wait_until(lambda: len({poll.run for poll in past.polls(*ALWAYS)}) == 2, "another run")
            lost.clear()
            other.wait_for("came back|back online")
            other.send_signal(signal.SIGTERM)
            assert other.wait_for_end() == 143
        kinds = [event.kind for event in events_of(past.steps(*ALWAYS))]
        assert kinds[:2] == [Kind.OFFLINE, Kind.OFFLINE]
        assert kinds.count(Kind.ONLINE) == 2


def test_without_history_there_is_no_file_of_it(tmp_path: Path) -> None:
    servers = {"option": Faulty(listing), "setting": Faulty(listing)}
    options = {"option": ("--no-history",), "setting": ()}
    with ExitStack() as stack:
        terminals = {}
        for how, server in servers.items():
            stack.enter_context(running(server))
            home = tmp_path / how
            home.mkdir()
            config = home / "config.toml"
            config.write_text("history = false\n" if how == "setting" else "")
            environ = {**credentials(server), "ENVWATCH_CONFIG": str(config)}
            program = Terminal.of_envwatch("--interval=1s", *options[how], home=home, environ=environ)
            terminals[how] = stack.enter_context(program)
        for how, terminal in terminals.items():
            seen = servers[how].seen
            terminal.wait_until(lambda seen=seen: len(seen) >= 3, "three polls")  # type: ignore[misc]
            terminal.press("q")
            assert terminal.wait_for_end() == 0
            assert not list((tmp_path / how).rglob("history"))
            assert list((tmp_path / how).rglob("envwatch.log"))


def test_what_keeps_the_history_from_being_written_is_said_once_and_nothing_else_suffers(tmp_path: Path) -> None:
    state = tmp_path / ".local/state/envwatch"
    state.mkdir(parents=True)
    (state / "history").write_text("a file where the folder would be")
    server = Faulty(listing)
    with running(server):
        with dashboard(server, tmp_path, columns=120) as terminal:
            terminal.wait_for("no history is kept: .*; check the owner and the mode of that folder, or set history = f")
            terminal.wait_for("live")
            terminal.press("e")
            terminal.wait_for("^ events +watched since")
            terminal.wait_for("no history is kept")
            terminal.press(ESC)
            terminal.wait_for("⏎ Detail")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        log = (state / "envwatch.log").read_text()
        assert log.count("no history is kept") == 1
        command = [sys.executable, "-m", "envwatch", "watch", "--interval=1s", "--for=2s"]
        done = programs.run(command, environment(tmp_path, **credentials(server)))
    assert done.returncode == 0
    assert done.stderr.decode().count("envwatch: no history is kept: ") == 1


def test_each_demo_shows_the_same_day_without_a_loss_where_the_day_and_the_demo_meet(tmp_path: Path) -> None:
    past = StoredPast(history_folder(tmp_path / ".local/state/envwatch", "demo", "demo"))
    for _ in range(2):
        with Terminal.of_envwatch("demo", "--no-hints", home=tmp_path, columns=120) as terminal:
            terminal.wait_for("^▌►○ off ")
            terminal.press("e")
            terminal.wait_for("13 came back together")
            terminal.wait_for(r"7 went offline together \(\+6 need nobody\): all pod p-4")
            terminal.press(ESC)
            terminal.wait_for("⏎ Detail")
            terminal.press("{")
            terminal.wait_for("REWOUND")
            terminal.wait_for("^ [0-9-]+ [0-9:]+ .*[○●].* ○ loss  ● back")
            terminal.press("L")
            terminal.wait_for_no("REWOUND")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        polls = past.polls(*ALWAYS)
        assert len({poll.run for poll in polls}) == 3
        first = next(poll for poll in polls if poll.run == polls[-1].run)
        before = polls[polls.index(first) - 1]
        events = [event for step in past.steps(WallMs(before.at + 1), first.at) for event in flatten(step.events)]
        assert {event.id for event in events if event.id is not None} == set()
    done = programs.run([sys.executable, "-m", "envwatch", "report", "--profile", "demo"], environment(tmp_path))
    assert "7 went offline together (+6 need nobody), all `pod p-4`" in done.stdout.decode()
    assert "## Still down: 8 (1 not alerting, 6 for over a day)" in done.stdout.decode()
