"""State that the real program keeps between runs: decisions, looks, history, recordings; and what prevents that."""

from __future__ import annotations

import stat
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.builders import NOW, beating, environment, listed, uncleaned
from support.faulty_server import credentials, down, serving, up
from support.memory_history import recorded
from support.own_keys import own_keys
from support.pty_terminal import ENTER, ESC, Terminal
from support.pty_terminal import environment as environ_of
from support.recording import ALWAYS, record

from envwatch.fleet.events import Kind, flatten
from envwatch.history.past import About, events_of
from envwatch.history.recording import RecordingWriter
from envwatch.history.stored import Retention, StoredPast, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import WallMs
from envwatch.model.page import parse_environment
from envwatch.model.text import clean
from envwatch.stored.entries import content_of_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.faulty_server import Faulty


def dashboard(server: Faulty, home: Path, *options: str) -> Terminal:
    environ = credentials(server) | own_keys(home)
    return Terminal.of_envwatch("--interval", "1s", *options, home=home, columns=120, environ=environ)


def run(server: Faulty, home: Path, *arguments: str) -> str:
    done = programs.run([sys.executable, "-m", "envwatch", *arguments], environ_of(home, **credentials(server)))
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def quit_from(terminal: Terminal) -> None:
    terminal.press("q")
    assert terminal.wait_for_end() == 0


def state_of(home: Path) -> Path:
    return home / ".local" / "state" / "envwatch"


def kept(home: Path, name: str) -> dict[str, Any]:
    path = state_of(home) / name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = content_of_text(path.read_text())
    assert read.damaged == ()
    return read.content


# -- decisions and looks -----------------------------------------------------------------------------------------------
def two_rows() -> Callable[[float], list[dict[str, Any]]]:
    """Return a listing by time, with a row that was lost ten minutes ago: after 15 minutes a loss is not marked."""
    lost_at = time.time() * 1000 - 600_000
    return lambda now: [up("web-1", now), down("old-nas", lost_at)]


def acknowledge(terminal: Terminal, note: str) -> None:
    terminal.wait_for("^▌►○ off .* old-nas ")
    terminal.press("a")
    terminal.wait_for("Acknowledge on this machine: old-nas, until it recovers")
    terminal.press(f"{note}{ENTER}")
    terminal.wait_for("^.►✓ off .* old-nas ")


@pytest.mark.slow
def test_decisions_reach_running_dashboards_and_the_next_run_until_they_are_withdrawn(tmp_path: Path) -> None:
    with serving(two_rows()) as server:
        with dashboard(server, tmp_path) as reader:
            reader.wait_for("^▌►○ off .* old-nas ")
            with dashboard(server, tmp_path) as writer:
                acknowledge(writer, "waits for a new disk")
                writer.press("B")
                writer.wait_for("bell on: rings when a machine stays down")
                quit_from(writer)
            reader.wait_for("^.►✓ off .* old-nas .*new disk")
            run(server, tmp_path, "silence", "old-nas", "--for", "1h", "--note", "by a command")
            reader.wait_for("1 on · 1 silenced")
            reader.press("G")
            reader.wait_for("▏.*by a command")
            run(server, tmp_path, "alerts", "set", "old-nas", "never")
            reader.wait_for(r"1 not paging \(1 never\)")
            run(server, tmp_path, "alerts", "set", "old-nas", "always")
            quit_from(reader)
        ((name, ack),) = kept(tmp_path, "acknowledged.json").items()
        assert (name, ack["note"]) == (f"{ack['server']} {ack['id']}", "waits for a new disk")
        assert kept(tmp_path, "state.json") == {"bell": True}
        with dashboard(server, tmp_path) as terminal:
            terminal.wait_for(" bell ")
            terminal.wait_for("○ off .* old-nas ")
            terminal.press("G")
            terminal.wait_for(r"▏ acked +(just now|[0-9]+[sm] ago) on this machine: waits")
            terminal.press("a")
            terminal.wait_for("Withdraw")
            terminal.press("\x12")
            terminal.wait_for("End the acknowledgement on this machine: old-nas")
            terminal.press("e\r")
            terminal.wait_for("no longer acknowledged: old-nas")
            quit_from(terminal)
        (ended,) = kept(tmp_path, "acknowledged.json").values()
        assert ended["until"] <= time.time() * 1000


@pytest.mark.slow
def test_what_cannot_be_read_or_written_is_told_once_and_nothing_else_suffers(tmp_path: Path) -> None:
    state = state_of(tmp_path)
    state.mkdir(parents=True)
    (state / "history").write_text("a file where the folder would be")
    (state / "acknowledged.json").write_text('{"env-1": {"at": 1, "no')
    with serving(two_rows()) as server:
        with dashboard(server, tmp_path) as terminal:
            terminal.wait_for("live")
            terminal.press("e")
            terminal.wait_for("no history is kept: .*; check the owner and the mode of that folder, or set history = f")
            terminal.wait_for(r"forgot which machines are acknowledged: damaged\s")
            terminal.press(ESC)
            acknowledge(terminal, "")
            quit_from(terminal)
        assert (state / "acknowledged.json.aside").read_text() == '{"env-1": {"at": 1, "no'
        assert len(kept(tmp_path, "acknowledged.json")) == 1
        assert (state / "envwatch.log").read_text().count("no history is kept") == 1
        command = [sys.executable, "-m", "envwatch", "watch", "--interval=1s", "--for=2s"]
        done = programs.run(command, environ_of(tmp_path, **credentials(server)))
        assert done.returncode == 0
        assert done.stderr.decode().count("envwatch: no history is kept: ") == 1


def test_without_history_there_is_no_file_of_history(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("history = false\n")
    with serving(two_rows()) as server:
        run(server, tmp_path, "watch", "--interval=1s", "--for=1s", "--config", str(tmp_path / "config.toml"))
        run(server, tmp_path, "watch", "--interval=1s", "--for=1s", "--no-history")
    assert not list(tmp_path.rglob("history"))
    assert list(tmp_path.rglob("envwatch.log"))


# -- a loss over the runs ----------------------------------------------------------------------------------------------
POD = [f"db-{number:02}" for number in range(12)]
HOUR_MS = 3_600_000
OTHERS = [f"web-{number:02}" for number in range(20)]


class Fleet:
    lost_at: float | None = None
    back_at: float | None = None
    mode = "standard"

    def rows(self, now: float) -> list[dict[str, Any]]:
        others = [up(id_, now, podId="p-2") for id_ in OTHERS[1:]]
        return [self._of_pod(id_, now) for id_ in POD] + [
            up(OTHERS[0], now, podId="p-2", currentMode=self.mode),
            *others,
        ]

    def _of_pod(self, id_: str, now: float) -> dict[str, Any]:
        if self.lost_at is None:
            return up(id_, now, podId="p-7")
        if self.back_at is None:
            return down(id_, self.lost_at, podId=None)
        return up(id_, now, podId="p-7", connectionId=f"again-{id_}", connectedAt=self.back_at)


def go_back_to_the_loss(terminal: Terminal) -> None:
    """Step by event back to the loss, which is the oldest; the pod's return may be the newest moment."""
    terminal.press("{", "{")
    terminal.wait_for("○ 12 off +[0-9]+s NEW +pod p-7: db-00, db-01, db-02.* more +disconnected")
    terminal.wait_for("12 went offline together: all pod p-7")


@pytest.mark.slow
def test_a_loss_is_found_again_explained_cut_out_replayed_and_reported(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
    file, fleet = tmp_path / "pod.rec", Fleet()
    with serving(fleet.rows) as server:
        with dashboard(server, home) as terminal:
            terminal.wait_for("● 32 on")
            terminal.wait_until(lambda: len(server.seen) >= 3, "more polls than the first")
            fleet.lost_at = time.time() * 1000 - 6_000
            terminal.wait_for("12 went offline together: all pod p-7")
            polls = len(server.seen)
            terminal.wait_until(lambda: len(server.seen) >= polls + 2, "a listing after the loss")
            quit_from(terminal)

        fleet.back_at = time.time() * 1000
        with dashboard(server, home) as terminal:
            terminal.wait_for("12 came back together")
            go_back_to_the_loss(terminal)
            terminal.press("x", "j")
            terminal.wait_for("► +○ off +[0-9]+s +db-00 ")
            terminal.press("E")
            terminal.wait_for("no connectionId|no live connection")
            terminal.press(ESC, "L")
            terminal.wait_for("● 32 on")
            quit_from(terminal)

        run(server, home, "record", "--since", "1h ago", "-o", str(file))
        report = run(server, home, "report", "--since", "1h")

    with Terminal.of_envwatch("replay", str(file), home=elsewhere, columns=120) as terminal:
        terminal.press("L")  # to the end
        terminal.wait_for("PAUSED")
        go_back_to_the_loss(terminal)
        quit_from(terminal)

    assert "12 went offline together, all `pod p-7`: `db-00`, `db-01`" in report
    assert "; all back within" in report
    assert "\x1b" not in report


def test_the_next_run_shows_what_happened_before_and_what_changed_meanwhile(tmp_path: Path) -> None:
    began = time.time() * 1000 - 3 * HOUR_MS
    lost_at = began + 30_000

    def rows(now: float, *lost: str, **of_dora: Any) -> list[dict[str, Any]]:
        pair = [down(name, lost_at) if name in lost else up(name, now) for name in ("ana", "ben")]
        return [*pair, up("dora", now, **of_dora), up("emil", now)]

    before = [(0, ()), (30_000, ()), (35_000, ("ana",)), (40_000, ("ana",))]
    with serving(lambda now: rows(now, "ana", "ben", currentMode="unrestricted")) as server:
        folder = history_folder(state_of(tmp_path), "default", server.url.partition("://")[2])
        writer = FolderWriter(folder, Retention())
        record(
            writer,
            [listed([parse_environment(row) for row in rows(began + ms, *lost)], began + ms) for ms, lost in before],
        )
        writer.close()
        with dashboard(server, tmp_path) as terminal:
            terminal.wait_for(r"in (2h 59m|3h) since the last run: 1 offline, 1 unrestricted +[0-9]+s ago")
            assert "NEW" not in terminal.text, "hours ago is not lately"
            terminal.press("e")
            terminal.wait_for("^ events +watched since")
            terminal.wait_for(r"○ +ana +went offline")
            terminal.press(ESC)
            terminal.wait_for("⏎ Detail")
            quit_from(terminal)
        past = StoredPast(folder)
        (group,) = (event for event in events_of(past.steps(*ALWAYS)) if event.kind is Kind.WHILE_BLIND)
        assert {(event.kind, event.id) for event in group.members} == {(Kind.OFFLINE, "ben"), (Kind.MODE, "dora")}


@pytest.mark.slow
def test_of_two_dashboards_one_records_and_the_other_takes_over_after_a_hang_up(tmp_path: Path) -> None:
    fleet = Fleet()
    with serving(fleet.rows) as server, dashboard(server, tmp_path) as one:
        one.wait_for("● 32 on")
        past = StoredPast(history_folder(state_of(tmp_path), "default", server.url.partition("://")[2]))
        with dashboard(server, tmp_path) as other:
            other.wait_for("● 32 on")
            fleet.lost_at = time.time() * 1000 - 6_000
            for terminal in (one, other):
                terminal.wait_for("12 went offline together")
            assert len({poll.run for poll in past.polls(*ALWAYS)}) == 1
            one.hang_up()
            other.wait_until(lambda: len({poll.run for poll in past.polls(*ALWAYS)}) == 2, "another run")
            fleet.back_at = time.time() * 1000
            other.wait_for("12 came back together")
            quit_from(other)
        events = [*flatten(events_of(past.steps(*ALWAYS)))]
        assert [sum(event.kind is kind for event in events) for kind in (Kind.OFFLINE, Kind.ONLINE)] == [12, 12]


# -- the demo ----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_each_demo_shows_the_same_day_and_forgets_what_was_acknowledged(tmp_path: Path) -> None:
    past = StoredPast(history_folder(state_of(tmp_path), "demo", "demo"))
    for _ in range(2):
        with Terminal.of_envwatch("demo", "--no-hints", home=tmp_path, columns=120) as terminal:
            terminal.wait_for("^▌►○ off ")
            terminal.press("e")
            terminal.wait_for("13 came back together")
            terminal.wait_for(r"7 went offline together \(\+6 not paging\): all pod p-4")
            terminal.press(ESC)
            terminal.wait_for("⏎ Detail")
            terminal.press("a", ENTER)
            terminal.wait_for("1 acked|^.►✓ ")
            quit_from(terminal)
        polls = past.polls(*ALWAYS)
        assert len({poll.run for poll in polls}) == 3
        first = next(poll for poll in polls if poll.run == polls[-1].run)
        before = polls[polls.index(first) - 1]
        events = [event for step in past.steps(WallMs(before.at + 1), first.at) for event in flatten(step.events)]
        assert {event.id for event in events if event.id is not None} == set(), "no loss between the day and the demo"
        assert not (state_of(tmp_path) / "acknowledged.json").exists()
    done = programs.run([sys.executable, "-m", "envwatch", "report", "--profile", "demo"], environ_of(tmp_path))
    assert "7 went offline together (+6 not paging), all `pod p-4`" in done.stdout.decode()


# -- a stranger's recording --------------------------------------------------------------------------------------------
HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x9b5n"
"""Sets a terminal's clipboard, and queries the terminal."""


def strangers_recording(path: Path) -> Path:
    """Record a loss with hostile names, and cut the end of the file off."""
    rows = [*beating(3), environment("env-9", lastHeartbeat=NOW)]
    lost = environment("env-9", connectionId=None, lastHeartbeat=None)
    history = recorded(
        [listed(rows), *(listed([*beating(3, NOW + 5_000 * n), lost], NOW + 5_000 * n) for n in range(1, 400))]
    )
    about = About(profile=uncleaned(f"prod{HOSTILE}"), base_url=clean("https://letta.example"), version=clean("1.0"))
    with closing(RecordingWriter(path, about)) as writer:
        for poll in history.polls(WallMs(0), WallMs(NOW * 2)):
            moment = history.moment(poll)
            hostile = {
                id_: replace(tracked, environment=replace(tracked.environment, name=uncleaned(f"{HOSTILE}{id_}")))
                for id_, tracked in moment.profile_state.environments.items()
            }
            moment = replace(moment, profile_state=replace(moment.profile_state, environments=hostile))
            writer.write(moment, poll.result, history.events(poll.at, poll.at))
    path.write_bytes(path.read_bytes()[:-3])
    return path


def test_a_strangers_recording_plays_without_key_network_or_settings(tmp_path: Path) -> None:
    """From a start time, at a speed; `p` pauses; control characters do not reach the terminal."""
    path, home = strangers_recording(tmp_path / "night.rec"), tmp_path / "home"
    home.mkdir()
    arguments = ("replay", str(path), "--speed", "2", "--at", "08:53:30")
    with Terminal.of_envwatch(*arguments, home=home, columns=120) as terminal:
        terminal.wait_for(r"the end of night\.rec is missing")
        terminal.wait_for(r"night\.rec · prod\\x1b\S* · letta\.example +○ 1 page +● 3 on +REPLAY 2x")
        terminal.wait_for(r"○ off .* \\x1b\]52;c;.* disconnected")
        terminal.press("p")
        terminal.wait_for(r"PAUSED .*08:5[3-7]:\d\d$")
        terminal.press("L")
        terminal.wait_for(r"PAUSED .*09:\d\d:\d\d$")
        terminal.press("{")
        terminal.wait_for(r"PAUSED .*08:53:25$")
        quit_from(terminal)
    received = bytes(terminal.received)
    assert b"\x1b]52" not in received
    assert b"\x9b5n" not in received
    assert not (home / ".local/state/envwatch/history").exists()


def test_a_view_chooses_what_a_replay_prints_and_shows(tmp_path: Path) -> None:
    path = str(strangers_recording(tmp_path / "night.rec"))
    (tmp_path / "config.toml").write_text('[views.nine]\nfilter = "env-9"\ncolumns = ["mode"]\n')
    environ = environ_of(tmp_path, ENVWATCH_CONFIG=str(tmp_path / "config.toml"))

    def printed(*arguments: str) -> tuple[int, list[bool], str]:
        done = programs.run([sys.executable, "-m", "envwatch", "replay", path, "-o", "text", *arguments], environ)
        lines = done.stdout.decode().splitlines()
        return done.returncode, ["env-9" in line for line in lines], done.stderr.decode().splitlines()[0]

    assert printed("--view", "nine")[:2] == (0, [True])
    assert printed("--view", "nine", "--filter", "env-1")[:2] == (0, [])
    assert printed("--view", "nien") == (2, [], "envwatch: --view: there is no view nien; did you mean nine?")
    command = ("replay", path, "--view", "nine")
    with Terminal.of_envwatch(*command, home=tmp_path, columns=120, environ=environ) as terminal:
        terminal.wait_for(r" 1/4 VIEW nine")
        terminal.wait_for("STATE +FOR BEAT NAME +MODE +▏")
        quit_from(terminal)
