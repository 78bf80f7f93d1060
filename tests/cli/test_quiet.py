"""`envwatch quiet suggest` on this machine's history: the tables go into the configuration file and cover the rows."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from support.habits import Weeks
from support.recording import record

from envwatch.cli.arguments import StopError, options_in
from envwatch.cli.commands.quiet import run as run_command
from envwatch.storage.history.past import Retention, history_folder
from envwatch.storage.history.writer import FolderWriter

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[profiles.work]
base_url = "https://work.example"
timezone = "Asia/Kolkata"
[profiles.home]
base_url = "https://home.example"
history = false
"""


@pytest.fixture
def machine(empty_home: Path) -> Path:
    (empty_home / "config.toml").write_text(CONFIG)
    return empty_home


def remember(machine: Path, days: int = 14) -> None:
    today = datetime.fromtimestamp(time.time(), UTC).date()
    weeks = Weeks(ZoneInfo("Asia/Kolkata"), today - timedelta(days=days), days)
    weeks.office("ana", Random(1))
    weeks.always_on("web")
    writer = FolderWriter(history_folder(machine / "envwatch", "work", "work.example"), Retention())
    record(writer, weeks.listings(timedelta(minutes=30)))
    writer.close()


def run(capfd: pytest.CaptureFixture[str], machine: Path, *arguments: str) -> tuple[int, str, str]:
    given = ["--profile", "work", "--config", str(machine / "config.toml"), *arguments]
    code = run_command(options_in(["quiet", "suggest", *given]))
    out, err = capfd.readouterr()
    return code, out, err


def refusal(machine: Path, *arguments: str) -> tuple[int, str]:
    given = ["--config", str(machine / "config.toml"), *arguments]
    with pytest.raises(StopError) as raised:
        run_command(options_in(["quiet", "suggest", *given]))
    return raised.value.code, str(raised.value)


def test_the_tables_go_into_the_file_and_then_cover_the_rows(machine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    remember(machine)
    code, out, err = run(capfd, machine)
    assert code == 0
    assert out.startswith("# 1 environment, which kept these hours on ")
    assert '\n[[profiles.work.quiet]]\nfilter = "name:ana"\nhours = "' in out
    assert " by the clocks of Asia/Kolkata" in err
    assert (machine / "config.toml").read_text() == CONFIG, "the command writes no file"
    (document,) = json.loads(run(capfd, machine, "-o", "json")[1])["profiles"]
    assert [each["filter"] for each in document["suggestions"]] == ["name:ana"]
    (machine / "config.toml").write_text(CONFIG + out)
    code, out, err = run(capfd, machine)
    assert (code, out) == (0, "")
    assert "work: quiet hours cover already: ana\n" in err
    code, out, err = run(capfd, machine, "--filter", "web")
    assert (code, out) == (0, "")
    assert "work: no environment is off at the same hours on most days\n" in err


def test_too_few_days_suggest_nothing(machine: Path) -> None:
    remember(machine, days=3)
    code, line = refusal(machine, "--profile", "work")
    assert code == 1
    assert "too few days were watched of profile work: " in line
    assert line.endswith("habits show after 5 and 2")


def test_without_a_history_the_message_says_what_to_do(machine: Path) -> None:
    code, line = refusal(machine, "--profile", "work")
    assert code == 1
    assert "nothing was recorded of profile work on work.example since " in line
    assert line.endswith("the dashboard, `watch`, `serve` and `metrics` record")
    assert refusal(machine, "--profile", "home")[1].endswith("the setting `history` is false, so nothing is recorded")
    assert refusal(machine, "--profile", "work", "--since", "tomorrow")[0] == 2
