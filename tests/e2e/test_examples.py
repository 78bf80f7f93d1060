"""Runs the examples of every help, in a terminal, against a server."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from support.faulty_server import KEY, Faulty, down, running, unlimited, up
from support.parsers import parsers
from support.programs import run
from support.pty_terminal import Terminal, environment

from envwatch.alerts.silences import silence_of_query
from envwatch.model.clock import WallMs
from envwatch.model.text import EMPTY, clean
from envwatch.views.events.matching import compile_matcher
from envwatch.watch.state_file import SILENCES, merge

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVWATCH: Final = (sys.executable, "-m", "envwatch")
CERTIFICATE: Final = Path(__file__).parents[1] / "support" / "certs" / "localhost.pem"
STARTED: Final = time.time() * 1000

CONFIGURATION: Final = """
default_profile = "work"
serve_tokens_file = "tokens"
[profiles.work]
base_url = "URL"
api_key_env = "WORK_KEY"
[profiles.home]
base_url = "URL"
api_key_env = "WORK_KEY"
[[hooks]]
name = "chat"
command = ["true"]
on = ["incident"]
"""


class RunsOn(NamedTuple):
    """A text that shows that a command runs, and how a person ends it."""

    shown: str
    key: str = "\x03"
    code: int = 130


SCREEN: Final = RunsOn(r"[○●] \d", "q", 0)

RUNS_ON: Final = {
    "envwatch": SCREEN,
    "envwatch --filter 'name:web-*'": SCREEN,
    "envwatch --profile work,home": SCREEN,
    "envwatch demo": SCREEN,
    "envwatch demo --size 1000": SCREEN,
    "envwatch demo --serve": RunsOn("serving"),
    "envwatch replay night.rec": SCREEN,
    "envwatch replay night.rec --speed 60": SCREEN,
    "envwatch watch": RunsOn("watching"),
    "envwatch watch --since 8h --for 1h": RunsOn("watching"),
    "envwatch watch --hooks": RunsOn("watching"),
    "envwatch serve": RunsOn("serving"),
    "envwatch serve --bind 0.0.0.0:8443 --tls-cert cert.pem": RunsOn("serving"),
    "envwatch record -o night.rec": RunsOn("recording"),
    "envwatch record -o shift.rec --for 8h": RunsOn("recording"),
    "envwatch metrics --textfile letta.prom": RunsOn("writing"),
}

CODES: Final = {"envwatch check": 2, "envwatch check --of off -w 3 -c 10": 1, "envwatch check --expect hosts.txt": 2}
"""Exit codes besides 0 of examples that end."""

WITHOUT: Final = {
    "config": [".config/envwatch/config.toml"],
    "config init": [".config/envwatch/config.toml", "new.toml"],
    "record": ["night.rec"],
}
"""Files that the examples make."""

BEFORE: Final = {"ack end": ("ack web-2", "ack pod:p-7 --yes", "ack web-3")}


def fleet(now: float) -> list[dict[str, Any]]:
    on = [up(name, now) for name in ("web-1", "ci-1", "ci-2", "ci-3", "laptop-zoe")]
    off = [down(name, STARTED - 3_600_000) for name in ("web-2", "web-3")]
    in_pods = [down("db-1", STARTED - 3_600_000, podId="p-7"), down("db-2", STARTED - 3_600_000, podId="p-7")]
    return [*on, *off, *in_pods, up("db-3", now, podId="p-3")]


@pytest.fixture(scope="module")
def server() -> Iterator[Faulty]:
    served = Faulty(fleet)
    with running(served):
        yield served


def environ_of(home: Path, server: Faulty) -> dict[str, str]:
    environ = environment(home, **unlimited(server), WORK_KEY=KEY)
    return environ | {"PATH": f"{home / 'bin'}:{environ['PATH']}"}


@pytest.fixture(scope="module")
def used_home(server: Faulty, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with the files of the examples, and a history."""
    home = tmp_path_factory.mktemp("home")
    config, zsh, fish, program = (
        home / path
        for path in (".config/envwatch/config.toml", ".zfunc/_", ".config/fish/completions/_", "bin/envwatch")
    )
    for path in (config, zsh, fish, program):
        path.parent.mkdir(parents=True)
    for path in (config, home / "new.toml"):
        path.write_text(CONFIGURATION.replace("URL", server.url), encoding="utf-8")
    (home / "hosts.txt").write_text("web-1\nweb-9\n", encoding="utf-8")
    shutil.copy(CERTIFICATE, home / "cert.pem")
    program.write_text(f'#!/bin/sh\nexec {shlex.join(ENVWATCH)} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    for words in ("serve --new-token bob", "record -o night.rec --interval 1 --for 2"):
        made = run([*ENVWATCH, *words.split()], environ_of(home, server), folder=home)
        assert made.returncode == 0, made.stderr
    shutil.copy(config.with_name("tokens"), home)
    at = WallMs(time.time() * 1000)
    silence = silence_of_query(compile_matcher("name:web-1"), at, timedelta(hours=2), EMPTY, EMPTY)
    ids = map(clean, ("3f2a9c1e", "71b0d4c8", "5ce80a42"))
    merge(home / ".local/state/envwatch/silences.json", SILENCES, {id_: silence._replace(id=id_) for id_ in ids})
    return home


@pytest.fixture
def home(used_home: Path, tmp_path: Path) -> Path:
    return shutil.copytree(used_home, tmp_path / "home")


def examples_in(name: str) -> list[str]:
    """Return the commands of a help's examples."""
    text = parsers()[name].format_help()
    block = text.split("examples:\n")[1].split("\n\n")[0]
    return [re.split(r"\s{2,}", line.strip())[0] for line in block.splitlines()]


def code_of(example: str, environ: dict[str, str]) -> tuple[int, str]:
    """Run an example as a person would, who answers questions with yes; return the exit code and the screen."""
    is_plain = not set('|&$<>~"') & set(example)
    command = [*ENVWATCH, *shlex.split(example)[1:]] if is_plain else ["bash", "-c", example]
    with Terminal(command, environ, columns=120, lines=40) as terminal:
        if (runs := RUNS_ON.get(example)) is not None:
            terminal.wait_for(runs.shown)
            terminal.press(runs.key)
        else:
            terminal.press("y\r")
        return terminal.wait_for_end(), terminal.text.rstrip()


@pytest.mark.parametrize("name", parsers())
def test_the_examples_of_a_help_do_what_they_say(name: str, home: Path, server: Faulty) -> None:
    environ = environ_of(home, server)
    for path in WITHOUT.get(name, ()):
        (home / path).unlink()
    for words in BEFORE.get(name, ()):
        assert run([*ENVWATCH, *words.split()], environ, folder=home).returncode == 0, words

    examples = examples_in(name)
    ended = {example: code_of(example, environ) for example in examples}

    assert len(examples) == 3
    wrong = {example: (code, text) for example, (code, text) in ended.items() if code != expected_code(example)}
    assert wrong == {}, "\n".join(f"$ {example}\n{text}" for example, (_, text) in wrong.items())


def expected_code(example: str) -> int:
    return RUNS_ON[example].code if example in RUNS_ON else CODES.get(example, 0)


def test_every_expectation_is_of_an_example() -> None:
    examples = {example for name in parsers() for example in examples_in(name)}
    assert {*RUNS_ON, *CODES} - examples == set()
