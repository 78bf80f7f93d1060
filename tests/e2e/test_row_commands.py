"""A user-defined command for a row: the command gets the terminal, and the dashboard is restored afterwards."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

import pytest
from support.pty_terminal import ESC, Terminal, environment
from support.shells import ENVWATCH, KEY, SHOWN, assert_sane, bash, child_of, restored, with_parent

if TYPE_CHECKING:
    from pathlib import Path

    from envwatch.demo.server import Server

SECRETS: Final = {
    "OTHER_KEY": "sk-let-another-profile",
    "CHAT_URL": "https://chat.example/secret",
    "PD_KEY": "routing-key-0123456789",
    "PING_URL": "https://ping.example/secret",
}

CONFIG: Final = """
[profiles.other]
api_key_env = "OTHER_KEY"
ping_url_env = "PING_URL"

[[hooks]]
url_env = "CHAT_URL"

[[hooks]]
format = "pagerduty"
key_env = "PD_KEY"

[commands.ask]
key = "S"
run = ["sh", "-c", '''
    stty -a >before; env >variables; printf "go %s? " "$ENVWATCH_NAME"; read answer; echo $answer >answer''']
description = "Ask"
wait = false

[commands.fail]
key = "F"
run = ["sh", "-c", "stty raw -echo; exit 3"]

[commands.say]
key = "I"
run = ["echo", "42 lines of its log"]

[commands.lost]
key = "X"
run = ["no-such-program-anywhere"]

[commands.sleep]
key = "Z"
run = ["sh", "-c", "trap 'echo interrupted; exit 0' INT; echo asleep; while :; do sleep 0.05; done"]
wait = false

[commands.stop]
key = "P"
run = ["sh", "-c", "echo stops; kill -TSTP 0; echo goes on; read answer"]
wait = false

[commands.note]
key = "W"
run = ["sh", "-c", 'echo "$ENVWATCH_ID" >>noted; [ "$(wc -l <noted)" -lt 3 ]']

[commands.die]
key = "D"
run = ["bash", "-c", "set -m; bash --norc -ic 'kill -9 $$'; kill -9 $$"]
wait = false
"""


@pytest.fixture
def environ(server: Server, tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    named = {"LETTA_BASE_URL": server.base_url, "ENVWATCH_CONFIG": str(config)}
    return environment(tmp_path, LETTA_API_KEY=KEY, **named, **SECRETS)


def variables(home: Path) -> dict[str, str]:
    lines = (home / "variables").read_text().splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_a_command_has_the_terminal_and_the_row_but_not_the_key(environ: dict[str, str], tmp_path: Path) -> None:
    with with_parent(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("S")
        terminal.wait_for(r"go .+\?")
        assert restored(terminal)
        terminal.press("yes\r")
        terminal.wait_for("ask: done, with ")
        terminal.wait_for("Filter")
        assert (tmp_path / "answer").read_text() == "yes\n"
        found = variables(tmp_path)
        assert normalize("NFC", found["ENVWATCH_NAME"]) in normalize("NFC", terminal.text)
        assert found["ENVWATCH_ID"]
        assert found["ENVWATCH_STATE"] in {"online", "late", "offline"}
        assert not {"LETTA_API_KEY", *SECRETS} & found.keys()
        assert not {KEY, *SECRETS.values()} & set(found.values())
        assert "\nisig icanon" in (tmp_path / "before").read_text()
        terminal.press("F")
        terminal.wait_for("press enter to go back")
        terminal.press("\r")
        terminal.wait_for("fail: failed with exit status 3, with")
        terminal.press("X")
        terminal.wait_for("lost: cannot run no-such-program-anywhere: No such file or directory")
        terminal.press(":")  # keys work again
        terminal.wait_for("Search for")
        terminal.press("Ask")
        terminal.wait_for("│ Ask +S ")
        terminal.press(ESC)
        terminal.wait_for_no("Search for")
        terminal.press("q")
        assert_sane(terminal, 0)  # though the second command left the terminal raw


def test_on_marked_rows_a_command_asks_and_runs_on_each_row_until_a_run_fails(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with Terminal(ENVWATCH, environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("    ")
        terminal.wait_for("4 marked: a, A, M, y and your commands act on them; esc unmarks")
        terminal.press("W")
        terminal.wait_for(r"note on \S+, \S+ and 2 more|note on \S+ and 3 more|note on \S+, \S+, \S+ and \S+")
        assert " 4 marked " in terminal.display[0]
        assert not (tmp_path / "noted").exists()
        terminal.press("\r")
        terminal.wait_for("press enter to go back")
        terminal.press("\r")
        terminal.wait_for("note: failed with exit status 1, with .*; not run on 1 more")
        assert len(set((tmp_path / "noted").read_text().split())) == 3
        terminal.press("\x1b")
        terminal.wait_for("none marked")
        terminal.press("W")
        terminal.wait_for("press enter to go back")
        terminal.press("\r")
        terminal.wait_for("note: failed with exit status 1, with ")
        assert len((tmp_path / "noted").read_text().split()) == 4
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_the_output_of_a_command_stays_until_enter(environ: dict[str, str]) -> None:
    with with_parent(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        for key in ("\r", "\x03"):
            terminal.press("I")
            terminal.wait_for("42 lines of its log")
            terminal.wait_for("press enter to go back")
            terminal.press(key)
            terminal.wait_for("say: done, with ")
            terminal.screen.reset()
        terminal.press("I")
        terminal.wait_for("press enter to go back")
        os.kill(child_of(terminal), signal.SIGTERM)
        assert_sane(terminal, 143)


def test_an_interrupt_ends_a_command_alone_and_the_end_of_the_dashboard_its_command(environ: dict[str, str]) -> None:
    with with_parent(environ, *ENVWATCH) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("Z")
        terminal.wait_for("asleep")
        terminal.press("\x03")
        terminal.wait_for("sleep: done, with ")
        terminal.press("D")  # the terminal's foreground group dies, and the terminal is taken back
        terminal.wait_for("die: ended by signal 9, with")
        terminal.screen.reset()
        terminal.press("Z")
        terminal.wait_for("asleep")
        os.kill(child_of(terminal), signal.SIGTERM)
        assert_sane(terminal, 143)


@pytest.mark.slow
def test_a_stopped_command_stops_the_job_and_goes_on_with_the_job(environ: dict[str, str]) -> None:
    with bash(environ) as terminal:
        terminal.press(f"{' '.join(ENVWATCH)}\n")
        terminal.wait_for(SHOWN)
        terminal.press("P")
        terminal.wait_for("Stopped")
        terminal.press("fg\n")
        terminal.wait_for("goes on")
        terminal.press("\r")
        terminal.wait_for("stop: done, with ")
        terminal.press("q")
        terminal.wait_until(lambda: restored(terminal), "the terminal as it was")
        terminal.wait_until(lambda: terminal.received.endswith(b"$ "), "the prompt: what is typed before it is dropped")
        terminal.press("echo code $?\n")
        terminal.wait_for("code 0")
