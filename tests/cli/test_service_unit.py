"""The shipped systemd units of `envwatch watch --hooks`, `envwatch serve` and the listener of Letta Code."""

from __future__ import annotations

import shutil
import subprocess
from configparser import ConfigParser
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from support.builders import environment, own_device_id

from envwatch.cli.arguments import Exit
from envwatch.model import limits
from envwatch.model.times import duration_of
from envwatch.views.pane.remedies import start_remedies

DOCS: Final = Path(__file__).parents[2] / "docs"
WATCH, SERVE = DOCS / "envwatch-watch.service", DOCS / "envwatch-serve.service"
LISTENER: Final = DOCS / "letta-listener.service"
ANALYZE: Final = shutil.which("systemd-analyze")


@pytest.fixture(scope="module", params=[WATCH, SERVE], ids=lambda unit: unit.stem)
def unit(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def sections(unit: Path) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)  # a setting may be repeated
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit, encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def service(unit: Path) -> dict[str, str]:
    return dict(sections(unit)["Service"])


def test_the_watchdog_outlasts_every_wait_that_is_meant(service: dict[str, str]) -> None:
    watchdog = duration_of(service["WatchdogSec"].removesuffix("in"))
    assert watchdog is not None
    longest = max(
        limits.RETRY_AFTER_CAP, limits.FORBIDDEN_RECHECK, limits.LONG_BACKOFF_CAP, limits.Limits().refused_recheck
    )
    assert watchdog > longest + limits.Limits().walk_deadline + timedelta(minutes=1)


def test_only_a_wrong_configuration_is_not_restarted(service: dict[str, str]) -> None:
    """A refused key ends neither service: viewers read the cause, and an incident about envwatch opens."""
    assert service["RestartPreventExitStatus"] == f"{Exit.USAGE:d}"
    assert service["SuccessExitStatus"] == f"{Exit.TERMINATED:d}"


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_systemd_takes_the_unit_and_finds_it_hardened(unit: Path, tmp_path: Path) -> None:
    # The unit's program may not be installed here.
    text = unit.read_text(encoding="utf-8").replace("/usr/local/bin/envwatch", "/bin/sh")
    unit = tmp_path / unit.name
    unit.write_text(text, encoding="utf-8")
    for command in (("verify", "--man=no"), ("security", "--offline=yes", "--threshold=20", "--no-pager")):
        ended = subprocess.run([str(ANALYZE), *command, unit], capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stderr == ""


def test_the_listener_is_started_with_the_command_of_the_pane_and_again_after_every_end() -> None:
    unit = sections(LISTENER)
    (start,) = start_remedies(environment(connectionName="HOST", deviceId=own_device_id()))
    command = unit["Service"]["ExecStart"].replace("%h/.local/bin/", "").replace("%H", "HOST")
    assert command == f"{start.command} --lifecycle-output jsonl"
    assert (unit["Service"]["Restart"], unit["Service"]["RestartSec"]) == ("always", "60s")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Install"]["WantedBy"] == "default.target"


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_systemd_takes_the_unit_of_the_listener(tmp_path: Path) -> None:
    text = LISTENER.read_text(encoding="utf-8").replace("%h/.local/bin/letta", "/bin/sh")
    unit = tmp_path / LISTENER.name
    unit.write_text(text, encoding="utf-8")
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [str(ANALYZE), "--user", "verify", "--man=no", str(unit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)
    assert (ended.returncode, ended.stderr) == (0, "")
