"""The files of `docs/generate.py` from the parser are up to date, and shipped."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from envwatch.cli.arguments import COMMANDS, Exit, Options, StopError, options_in
from envwatch.cli.commands import completion

ROOT = Path(__file__).parents[2]
GENERATE = ROOT / "docs" / "generate.py"
MANUAL = ROOT / "docs" / "envwatch.1"


def test_the_generated_files_are_those_of_the_present_parser() -> None:
    generated: dict[Path, str] = runpy.run_path(str(GENERATE))["files"]()
    shipped = {MANUAL, *(completion.FOLDER / name for name in completion.SCRIPTS.values())}
    pages = {
        ROOT / "docs" / name for name in ("filter.md", "configuration.md", "performance.md", "without-a-screen.md")
    }
    assert set(generated) == shipped | pages
    stale = [path.name for path, content in generated.items() if path.read_text(encoding="utf-8") != content]
    assert stale == [], "run `uv run python docs/generate.py`"


def test_every_generated_file_is_shipped() -> None:
    document: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = document["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    files = {MANUAL, *(completion.FOLDER / name for name in completion.SCRIPTS.values())}
    assert {ROOT / path for path in shared} == files
    assert all(place.startswith("share/") for place in shared.values())


def test_the_manual_has_every_command_and_what_holds_for_all() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    assert [command for command in COMMANDS if f"\\fBenvwatch\\fR \\fI\\,{command}\\/\\fR" not in text] == []
    assert [
        title for title in ("EXAMPLES", "ENVIRONMENT VARIABLES", "EXIT CODES") if f".SH {title}\n" not in text
    ] == []
    assert "SUPPRESS" not in text
    assert "--profiles" not in text.replace("\\", "")


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_has_no_complaint_about_the_manual() -> None:
    done = subprocess.run(["man", "--warnings", "-l", str(MANUAL)], capture_output=True, check=True, timeout=60)
    assert (done.stderr, b"ENVIRONMENT" in done.stdout) == (b"", True)


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_the_scripts_are_printed_as_they_are(shell: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert completion.run(options_in(["completion", shell])) == Exit.FINE
    assert capfdbinary.readouterr().out == (completion.FOLDER / completion.SCRIPTS[shell]).read_bytes()


def test_a_shell_has_to_be_named() -> None:
    with pytest.raises(StopError, match="name a shell: bash, zsh, fish"):
        completion.run(options_in(["completion"]))
    with pytest.raises(StopError):
        options_in(["completion", "tcsh"])


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
def test_names_of_profiles_are_those_that_no_shell_changes_and_a_bad_file_has_none(
    content: bytes | None, names: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    if content is not None:
        config.write_bytes(content)
    assert completion.run(Options(profiles=True, config=str(config))) == Exit.FINE
    assert capfd.readouterr() == (names, "")


@pytest.mark.parametrize("arguments", [("completion", "bash"), ("completion", "--profiles"), ("dashboard", "--help")])
def test_completion_imports_nothing_slow(arguments: tuple[str, ...], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[profiles.acme]\n")
    script = (
        "import sys, os; os.environ['ENVWATCH_CONFIG'] = sys.argv.pop(); from envwatch.cli.main import main; "
        "code = main(); sys.exit(code or sorted({'textual', 'rich', 'httpx', 'pydantic'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, str(config)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 4
