"""`envwatch silence`: output, storage and refusals."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.demo_client import KEY
from support.pty_terminal import Terminal

from envwatch.cli.arguments import StopError, options_in
from envwatch.demo.scenarios import FleetSpec
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


def test_a_silence_is_made_listed_and_ended(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "--filter", "pod:p-7", "--for", "2h", "--note", "new disks")
    id_ = out.strip()
    assert (code, len(id_)) == (0, 8)
    looked, made = err.splitlines()
    assert looked.startswith("pod:p-7 matches an unknown number of environments: no API key")
    assert made.endswith("Z: pod:p-7")
    code, out, _ = run(tmp_path, "list", "-o", "json")
    (silence,) = json.loads(out)
    assert (silence["id"], silence["query"], silence["note"]) == (id_, "pod:p-7", "new disks")
    title, row = run(tmp_path, "list")[1].splitlines()
    assert title.split() == ["ID", "UNTIL", "WHAT", "NOTE", "BY"]
    assert row.split()[0] == id_
    assert run(tmp_path, "end", id_) == (0, "", "ended: pod:p-7\n")
    assert run(tmp_path, "list") == (0, "", "nothing is silenced\n")
    code, out, err = run(tmp_path, "end", id_)
    assert (code, out) == (1, "")
    assert err == f"envwatch: there is no silence {id_}; `envwatch silence list` prints the current silences\n"


CONFIG = """
[[quiet]]
filter = "name:mac-*"
days = "mon-sun"
hours = "{}"
[profiles.home]
[profiles.work]
[[profiles.work.quiet]]
days = "sat"
"""


def test_recurring_silences_are_listed_and_the_present_hours_are_ended(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    hours = "-".join(f"{now + timedelta(hours=each):%H:00}" for each in (-2, 3))
    (tmp_path / "config.toml").write_text(CONFIG.format(hours))
    options = ("--config", str(tmp_path / "config.toml"), "--profile")
    (silence,) = json.loads(run(tmp_path, "list", "-o", "json", *options, "home")[1])
    assert (silence["id"], silence["query"], silence["days"], silence["hours"]) == ("quiet-1", "name:mac-*", "", hours)
    assert silence["at"] < f"{now:%Y-%m-%dT%H:%M:%S}" < silence["until"]
    _, row = run(tmp_path, "list", *options, "home")[1].splitlines()
    assert re.fullmatch(rf"quiet-1  20.*Z  name:mac-\* {hours}  -     -", row)
    assert run(tmp_path, "end", "quiet-1", *options, "home") == (0, "", f"ended: name:mac-* {hours}\n")
    _, row = run(tmp_path, "list", *options, "home")[1].splitlines()
    assert re.fullmatch(rf"quiet-1  -  +name:mac-\* {hours}  -     -", row)
    code, out, err = run(tmp_path, "end", "quiet-1", *options, "home")
    assert (code, out, err) == (1, "", f"envwatch: quiet-1 is not in force now: name:mac-* {hours}\n")
    (entry,) = json.loads((tmp_path / "envwatch" / "silences.json").read_text()).values()
    assert (entry.keys(), entry["at"] == entry["until"]) == ({"ends", "at", "until", "note", "by"}, True)
    code, _, err = run(tmp_path, "end", "quiet-1", *options, "home,work")
    assert (code, err) == (2, "envwatch: several profiles have a silence quiet-1: choose one with --profile\n")


@pytest.mark.parametrize("arguments", [("--filter", "x"), ("--for", "2h"), ()])
def test_what_is_missing_is_named(arguments: tuple[str, ...]) -> None:
    from envwatch.cli.commands.silence import run as run_command  # noqa: PLC0415

    with pytest.raises(StopError, match="a silence needs --f") as raised:
        run_command(options_in(["silence", *arguments]))
    assert raised.value.code == 2


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
    with Server(FleetSpec(12, 7), key=KEY) as running:
        yield running


def variables(server: Server) -> dict[str, str]:
    return {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url}


def held(folder: Path) -> list[str]:
    return [silence["query"] for silence in json.loads(run(folder, "list", "-o", "json")[1])]


def test_a_new_silence_says_what_its_filter_matches_now(tmp_path: Path, server: Server) -> None:
    for query, text in {
        "name:chen-nas": "matches 1 of 12 environments now: chen-nas",
        "name:no-such": "matches none of 12 environments now",
        "!name:chen-nas": r"matches 11 of 12 environments now: \S+.*, .*, .* and 8 more",
    }.items():
        code, _, err = run(tmp_path, "--filter", query, "--for=1h", **variables(server))
        assert code == 0
        assert re.match(f"{re.escape(query)} {text}\nsilenced until .*: {re.escape(query)}\n$", err), err
    away = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "http://127.0.0.1:9"}
    code, _, err = run(tmp_path, "--filter", "name:away", "--for=1h", **away)
    assert (code, held(tmp_path)[-1]) == (0, "name:away")
    assert err.startswith("name:away matches an unknown number of environments: unreachable: 127.0.0.1:9: ")


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
