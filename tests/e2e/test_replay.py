"""A stranger's recording in the real program, on a machine without matching settings."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.builders import NOW, beating, environment, listed
from support.memory_history import recorded
from support.pty_terminal import Terminal
from support.pty_terminal import environment as environment_of
from support.uncleaned import uncleaned

from envwatch.history.past import About
from envwatch.history.recording import RecordingWriter
from envwatch.model.clock import WallMs
from envwatch.model.text import clean

if TYPE_CHECKING:
    from pathlib import Path

VIEWS = '[views.two]\nfilter = "env-2"\ncolumns = ["mode"]\n'

HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x9b5n"
"""Sets a terminal's clipboard, and queries the terminal."""


def test_a_recording_of_a_stranger_plays_without_key_network_or_settings(tmp_path: Path) -> None:
    """From a start time, at a speed; `p` pauses; control characters do not reach the terminal."""
    path, home = tmp_path / "night.rec", tmp_path / "home"
    home.mkdir()
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
    arguments = ("replay", str(path), "--speed", "2", "--at", "08:53:30")
    with Terminal.of_envwatch(*arguments, home=home, columns=120) as terminal:
        terminal.wait_for(r"the end of night\.rec is missing")
        terminal.wait_for(r"night\.rec · prod\\x1b\S* · letta\.example +● 3 on +○ 1 off +1 new +REPLAY 2x")
        terminal.wait_for(r"○ off .* \\x1b\]52;c;.* disconnected")
        terminal.press("p")
        terminal.wait_for(r"PAUSED .*08:5[3-7]:\d\d$")
        terminal.press("L")
        terminal.wait_for(r"PAUSED .*09:\d\d:\d\d$")
        terminal.press("{")
        terminal.wait_for(r"PAUSED .*08:53:25$")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    received = bytes(terminal.received)
    assert b"\x1b]52" not in received
    assert b"\x9b5n" not in received
    assert not (home / ".local/state/envwatch/history").exists()


def two_losses(path: Path) -> Path:
    """Record the losses of two rows of three."""
    down = [environment(f"env-{n}", connectionId=None, lastHeartbeat=None) for n in (1, 2)]
    three = beating(3)
    steps = [three, [down[0], *three[1:]], [*down, three[2]], [*down, three[2]]]
    history = recorded([listed(rows, NOW + 5_000 * n) for n, rows in enumerate(steps)])
    about = About(profile=clean("prod"), base_url=clean("https://letta.example"), version=clean("1.0"))
    with closing(RecordingWriter(path, about)) as writer:
        for poll in history.polls(WallMs(0), WallMs(NOW * 2)):
            writer.write(history.moment(poll), poll.result, history.events(poll.at, poll.at))
    return path


def replayed(home: Path, *arguments: str) -> tuple[int, list[str], str]:
    (home / "config.toml").write_text(VIEWS)
    environ = environment_of(home, ENVWATCH_CONFIG=str(home / "config.toml"))
    done = programs.run([sys.executable, "-m", "envwatch", "replay", *arguments], environ)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


@pytest.mark.parametrize("output", ["text", "jsonl"])
def test_the_filter_of_a_view_chooses_the_events_that_a_replay_prints(output: str, tmp_path: Path) -> None:
    path = str(two_losses(tmp_path / "night.rec"))
    code, lines, _ = replayed(tmp_path, path, "-o", output, "--view", "two")
    assert (code, ["env-2" in line for line in lines]) == (0, [True])
    assert replayed(tmp_path, path, "-o", output, "--view", "two", "--filter", "env-1")[:2] == (0, [])


def test_a_replay_with_a_view_that_does_not_exist_ends_before_the_first_line(tmp_path: Path) -> None:
    path = str(two_losses(tmp_path / "night.rec"))
    assert replayed(tmp_path, path, "-o", "text", "--view", "tow") == (
        2,
        [],
        "envwatch: --view: names no view; did you mean two?\n",
    )


def test_a_replay_on_the_screen_starts_with_the_whole_view(tmp_path: Path) -> None:
    path = str(two_losses(tmp_path / "night.rec"))
    (tmp_path / "config.toml").write_text(VIEWS)
    environ = {"ENVWATCH_CONFIG": str(tmp_path / "config.toml")}
    with Terminal.of_envwatch("replay", path, "--view", "two", home=tmp_path, columns=120, environ=environ) as terminal:
        terminal.wait_for(r" 1/3 VIEW two")
        terminal.wait_for("STATE +FOR BEAT NAME +MODE +▏")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
