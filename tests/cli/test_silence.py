"""`envwatch silence`: what it prints, keeps and refuses."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from support import programs

from envwatch.cli.arguments import StopError, options_in
from envwatch.model.times import duration_of

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    environ = {"HOME": str(folder), "XDG_STATE_HOME": str(folder), "PATH": "", "TZ": "UTC", "LANG": "C.UTF-8"}
    ended = programs.run([sys.executable, "-m", "envwatch", "silence", *arguments], environ)
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


def test_a_silence_is_made_listed_and_ended(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "--filter", "pod:p-7", "--for", "2h", "--note", "new disks")
    id_ = out.strip()
    assert (code, len(id_)) == (0, 8)
    assert err.endswith(": pod:p-7\n")
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
    assert err == f"envwatch: no silence {id_} holds; `envwatch silence list` prints those that do\n"


@pytest.mark.parametrize("arguments", [("--filter", "x"), ("--for", "2h"), ()])
def test_what_is_missing_is_named(arguments: tuple[str, ...]) -> None:
    from envwatch.cli.commands.silence import run as run_command  # noqa: PLC0415

    with pytest.raises(StopError, match="a silence needs --f") as raised:
        run_command(options_in(["silence", *arguments]))
    assert raised.value.code == 2


@pytest.mark.parametrize("text", ["5", "", "2x", "59s", "366d", "-1h", "1h 30m", "h", "٣h"])
def test_a_wrong_duration_is_one_line(text: str) -> None:
    with pytest.raises(StopError, match="must be 1m to 365d, written like 30m, 2h, 1d or 1h30m") as raised:
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
