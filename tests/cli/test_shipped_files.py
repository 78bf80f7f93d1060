"""Files that the package ships: the manual, scripts of shells and other output of `docs/generate.py`; systemd units."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.builders import environment, own_device_id
from support.parsers import parsers

from envwatch.cli.arguments import COMMANDS, Exit
from envwatch.cli.commands import completion
from envwatch.model import limits
from envwatch.model.times import parse_duration
from envwatch.views.pane.remedies import start_remedies

if TYPE_CHECKING:
    from support.in_process import Envwatch

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
GENERATE, MANUAL = DOCS / "generate.py", DOCS / "envwatch.1"
SHIPPED: Final = {MANUAL, *(completion.FOLDER / name for name in completion.SCRIPTS.values())}


def test_the_generated_files_are_of_the_present_parser_and_shipped() -> None:
    generated: dict[Path, str] = runpy.run_path(str(GENERATE))["files"]()
    pages = {DOCS / name for name in ("filter.md", "configuration.md", "performance.md", "without-a-screen.md")}
    assert set(generated) == SHIPPED | pages
    stale = [path.name for path, content in generated.items() if path.read_text(encoding="utf-8") != content]
    assert stale == [], "run `uv run python docs/generate.py`"
    document: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = document["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {"docs/envwatch.1": "share/man/man1/envwatch.1"}


def test_the_manual_has_every_command_and_what_holds_for_all() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    assert [command for command in COMMANDS if f"\\fBenvwatch\\fR \\fI\\,{command}\\/\\fR" not in text] == []
    assert [title for title in ("ENVIRONMENT VARIABLES", "EXIT CODES") if f".SH {title}\n" not in text] == []
    assert text.count("\nexamples:\n") == len(parsers())
    assert text.count(r"\fB\-\-log\-level\fR") == 1, "options of the connection stand once"
    assert "SUPPRESS" not in text
    assert "--profiles" not in text.replace("\\", "")


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_has_no_complaint_about_the_manual() -> None:
    done = subprocess.run(["man", "--warnings", "-l", str(MANUAL)], capture_output=True, check=True, timeout=60)
    assert (done.stderr, b"ENVIRONMENT" in done.stdout) == (b"", True)


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_the_scripts_are_printed_as_they_are(envwatch: Envwatch, shell: str) -> None:
    assert envwatch("completion", shell).out == (completion.FOLDER / completion.SCRIPTS[shell]).read_text()


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"[profiles.acme]\n[profiles.b-2]\n[profiles.'$(id)']\n[profiles.'a b']\n", "acme\nb-2\n"),
        (b"\xef\xbb\xbf[profiles.acme]\nno_such_setting = 1\n", "acme\n"),
        (b"profiles = 5\n", ""),
        (b"[profiles", ""),
        (b"\xff", ""),
        (None, ""),
    ],
)
def test_completed_profiles_have_plain_names_and_a_bad_file_has_none(
    envwatch: Envwatch, content: bytes | None, names: str
) -> None:
    config = envwatch.home / "config.toml"
    if content is not None:
        config.write_bytes(content)
    assert envwatch("completion", "--profiles", ENVWATCH_CONFIG=str(config)) == (Exit.FINE, names, "")


# The systemd units of `envwatch watch --hooks`, `envwatch serve` and the listener of Letta Code.

LISTENER: Final = DOCS / "letta-listener.service"
ANALYZE: Final = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")


@pytest.fixture(params=["watch", "serve"])
def unit(request: pytest.FixtureRequest) -> Path:
    return DOCS / f"envwatch-{request.param}.service"


def sections(unit: Path) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)  # a setting may be repeated
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit, encoding="utf-8")
    return parser


def test_the_watchdog_outlasts_every_intended_wait_and_only_a_wrong_configuration_is_not_restarted(
    unit: Path,
) -> None:
    """A refused key ends neither service: viewers read the cause, and an incident about envwatch opens."""
    service = sections(unit)["Service"]
    watchdog = parse_duration(service["WatchdogSec"].removesuffix("in"))
    assert watchdog is not None
    longest = max(
        limits.RETRY_AFTER_CAP, limits.FORBIDDEN_RECHECK, limits.LONG_BACKOFF_CAP, limits.Limits().refused_recheck
    )
    assert watchdog > longest + limits.Limits().walk_deadline + timedelta(minutes=1)
    assert service["RestartPreventExitStatus"] == f"{Exit.USAGE:d}"
    assert service["SuccessExitStatus"] == f"{Exit.TERMINATED:d}"


def test_the_listener_is_started_with_the_command_of_the_pane_and_again_after_every_end() -> None:
    unit = sections(LISTENER)
    metadata = {"workingDirectory": "/home/ann"}
    (start,) = start_remedies(environment(connectionName="HOST", deviceId=own_device_id(), metadata=metadata))
    command = unit["Service"]["ExecStart"].replace("%h/.local/bin/", "").replace("%H", "HOST")
    directory = unit["Service"]["WorkingDirectory"].replace("%h", "/home/ann")
    assert f"cd {directory} && {command}" == f"{start.command} --lifecycle-output jsonl"
    assert (unit["Service"]["Restart"], unit["Service"]["RestartSec"]) == ("always", "60s")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Install"]["WantedBy"] == "default.target"


def analyzed(unit: Path, folder: Path, program: str, *command: str) -> tuple[int, str]:
    """Analyze a unit whose program is replaced: the program may not be installed here."""
    copy = folder / unit.name
    copy.write_text(unit.read_text(encoding="utf-8").replace(program, "/bin/sh"), encoding="utf-8")
    environ = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    words = [str(ANALYZE), *command, str(copy)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, env=environ)
    return ended.returncode, ended.stderr


@needs_systemd
def test_systemd_takes_the_unit_as_hardened(unit: Path, tmp_path: Path) -> None:
    for command in (("verify", "--man=no"), ("security", "--offline=yes", "--threshold=20", "--no-pager")):
        assert analyzed(unit, tmp_path, "/usr/local/bin/envwatch", *command) == (0, "")


@needs_systemd
def test_systemd_takes_the_unit_of_the_listener(tmp_path: Path) -> None:
    assert analyzed(LISTENER, tmp_path, "%h/.local/bin/letta", "--user", "verify", "--man=no") == (0, "")
