"""The completion scripts in real shells, each in a separate terminal."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final

import pytest
from support.pty_terminal import Terminal, environment

from envwatch.cli.commands.completion import FOLDER, SCRIPTS

if TYPE_CHECKING:
    from pathlib import Path

TAB, CLEAR = "\t", "\x15"

PLACES: Final = {
    "bash": ".local/share/bash-completion/completions/envwatch",
    "zsh": ".zfunc/_envwatch",
    "fish": ".config/fish/completions/envwatch.fish",
}
"""Paths of the scripts in the home, from the command's help."""

COMMANDS: Final = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "-i"),
}
STARTS: Final = {
    "bash": f"PS1='> '; . ~/{PLACES['bash']}; bind 'set enable-bracketed-paste off'",
    "zsh": "PS1='> '; fpath+=~/.zfunc; autoload -Uz compinit; compinit -u -D",
    "fish": "function fish_prompt; echo '> '; end; set -g fish_greeting; set -g fish_autosuggestion_enabled 0",
}

TYPED: Final = {
    "envwatch doc": "envwatch doctor ",
    "envwatch config val": "envwatch config validate ",
    "envwatch list --out": "envwatch list --output ",
    "envwatch list -o jsonl --prof": "envwatch list -o jsonl --profile[ =]?",
    "envwatch list --profile ac": "envwatch list --profile acme[, ]?",
    "envwatch doctor --profile acme,b": "envwatch doctor --profile acme,beta[, ]?",
    "envwatch list --profile=be": "envwatch list --profile=beta[, ]?",
    "envwatch list --log-level=war": "envwatch list --log-level=warning ?",
    "envwatch list --filter stat": "envwatch list --filter status:",
    "envwatch list stat": "envwatch list status:",
    "envwatch wait web-1 stat": "envwatch wait web-1 status:",
    "envwatch ack li": "envwatch ack list ",
    "envwatch silence li": "envwatch silence list ",
    "envwatch --config conf": "envwatch --config config.toml ",
}
"""Typed text, and a pattern of the line after the tab key, including the shell's blank."""


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_completes_commands_options_profiles_and_fields(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / PLACES[shell]
    script.parent.mkdir(parents=True)
    script.write_bytes((FOLDER / SCRIPTS[shell]).read_bytes())
    (tmp_path / "config.toml").write_text("[profiles.acme]\n[profiles.beta]\n")
    program = tmp_path / "bin" / "envwatch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m envwatch "$@"\n')
    program.chmod(0o755)
    environ = environment(tmp_path, ENVWATCH_CONFIG=str(tmp_path / "config.toml"))
    environ["PATH"] = f"{program.parent}:{environ['PATH']}"
    with Terminal(COMMANDS[shell], environ, columns=100) as terminal:
        terminal.press(f"{STARTS[shell]}\r", "clear; echo rea''dy\r")
        terminal.wait_for("^ready\n+>$")  # before the prompt, the terminal would echo the typed text
        for typed, completed in TYPED.items():
            terminal.press(f"{typed}{TAB}")
            terminal.wait_for(f"> {completed.rstrip()}")
            terminal.press("x")  # shows a blank before the cursor
            terminal.wait_for(f"> {completed}x$")
            terminal.press(CLEAR)
            terminal.wait_for_no(f"> {typed}")
