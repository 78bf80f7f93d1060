"""`envwatch silence`: output, storage and refusals."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.demo_client import KEY
from support.pty_terminal import Terminal

from envwatch.cli.arguments import StopError, options_in
from envwatch.demo.server import Server
from envwatch.model.times import duration_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    environ = {"HOME": str(folder), "XDG_STATE_HOME": str(folder), "PATH": "", "TZ": "UTC", "LANG": "C.UTF-8"}
    environ |= variables
    ended = programs.run([sys.executable, "-m", "envwatch", "silence", *arguments], environ)
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


@pytest.mark.parametrize("text", ["5", "", "2x", "59s", "366d", "-1h", "1h 30m", "h", "٣h"])
def test_a_wrong_duration_is_one_line(text: str) -> None:
    with pytest.raises(StopError, match="must be 1m to 365d, written like 45s, 2m or a number of seconds") as raised:
        options_in(["silence", "--filter", "x", f"--for={text}"])
    assert raised.value.code == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1_800), ("2h", 7_200), ("1d", 86_400), ("1h30m", 5_400), ("1d2h3m4s", 93_784), (" 90s ", 90)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    value = duration_of(text)
    assert value is not None
    assert value.total_seconds() == seconds


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(12, key=KEY) as running:
        yield running


def variables(server: Server) -> dict[str, str]:
    return {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url}


def held(folder: Path) -> list[str]:
    return [silence["query"] for silence in json.loads(run(folder, "list", "-o", "json")[1])]


@pytest.mark.parametrize("query", ["*", "!name:no-such"])
def test_nothing_silences_every_environment_without_a_yes(tmp_path: Path, server: Server, query: str) -> None:
    arguments = ("--filter", query, "--for", "1h")
    code, out, err = run(tmp_path, *arguments, **variables(server))
    assert (code, out) == (2, "")
    assert err.endswith("envwatch: this filter silences every environment; confirm with --yes\n")
    for answer, code in {"\r": 1, "n\r": 1, "\x04": 1, "y\r": 0}.items():
        assert held(tmp_path) == []
        environ = {"XDG_STATE_HOME": str(tmp_path), **variables(server)}
        with Terminal.of_envwatch("silence", *arguments, home=tmp_path, columns=120, environ=environ) as terminal:
            terminal.wait_for(r"matches 12 of 12 environments now: .* and 9 more")
            terminal.wait_for(r"Silence every environment\? \[y/N\]")
            terminal.press(answer)
            assert terminal.wait_for_end() == code
            assert ("nothing is silenced" in terminal.text) is bool(code)
    assert held(tmp_path) == [query]
    assert run(tmp_path, *arguments, "--yes", **variables(server))[0] == 0


def test_a_wildcard_asks_without_a_listing_too(tmp_path: Path) -> None:
    for query in ("*", "name:*", "name:web,* *"):
        assert run(tmp_path, "--filter", query, "--for", "1h")[0] == 2
    assert held(tmp_path) == []
