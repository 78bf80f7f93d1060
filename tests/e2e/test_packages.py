"""The installed packages: wheel, sdist and one-file executable, in fresh environments away from the repository."""

from __future__ import annotations

import email
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from statistics import median
from typing import TYPE_CHECKING, Final

import pytest
from support.demo_screen import assert_help_opens_and_q_ends
from support.pty_terminal import ROOT, Terminal, environment

from envwatch import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TIMEOUT_S: Final = 300.0
"""For downloads; an index may be slow."""

MANUAL: Final = "share/man/man1/envwatch.1"
"""From the environment's root."""

ADDRESS: Final = "https://git.example/team/envwatch"

PINS: Final = ROOT / ".ci/pins.txt"

EXECUTABLE_BYTES: Final = 8_000_000

PINNED: Final = ("uvx", "--quiet", "--constraints", PINS)
"""Begins the command of a tool in the version of the release."""

pytestmark = pytest.mark.slow


def run(command: Sequence[str | Path], folder: Path, environ: Mapping[str, str] | None = None) -> str:
    outside = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command,
        cwd=folder,
        env={**outside, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def package_index() -> None:
    """Skip without a package index: builds and installs need one."""
    asking = ["uv", "pip", "compile", "--quiet", "--no-cache", "-"]
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    if subprocess.run(asking, input=b"hatchling", capture_output=True, timeout=TIMEOUT_S, check=False).returncode:
        pytest.skip("no package index can be reached")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with wheel and sdist, built as the release builds them: with the repository's address."""
    folder, copy = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("copy") / "envwatch"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__")
    )
    run([copy / ".ci/address.py", ADDRESS, "v9.8.7"], copy)
    run(["uv", "build", "--quiet", "--build-constraints", PINS, "--out-dir", folder, copy], folder)
    return folder


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def outside_environ(home: Path) -> dict[str, str]:
    return {name: value for name, value in environment(home).items() if name != "PYTHONPATH"}


def works(program: Path, home: Path) -> None:
    """Assert that the version, a completion script, and the dashboard on the demo work."""
    home.mkdir()
    environ = outside_environ(home)
    assert run([program, "--version"], home, environ) == f"envwatch {__version__}\n"
    assert "_envwatch" in run([program, "completion", "bash"], home, environ)
    with Terminal([str(program), "demo", "--no-history"], environ, may_fork=False) as terminal:
        terminal.wait_for("● on ")
        assert_help_opens_and_q_ends(terminal)


def test_the_wheel_is_pure_and_has_what_the_program_reads_and_what_systems_look_for(built: Path) -> None:
    wheel = only(built, "*.whl")
    assert wheel.name == f"envwatch-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        metadata = packed.read(f"envwatch-{__version__}.dist-info/METADATA").decode()
        styles = packed.read("envwatch/styles.tcss")
    assert styles == (ROOT / "styles.tcss").read_bytes()
    shared = f"envwatch-{__version__}.data/data/"
    assert {name.removeprefix(shared) for name in names if name.startswith(shared)} == {MANUAL}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"envwatch"}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "envwatch").rglob("*.py")}
    assert sources == {name for name in names if name.endswith(".py")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"].keys() == set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE))


def test_the_sdist_has_sources_tests_and_pages_and_nothing_else(built: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "styles.tcss", "docs/keys.md"} <= names
    assert {"tests/e2e/test_packages.py", ".ci/run"} <= names
    tops = {name.split("/")[0] for name in names}
    assert tops - {"envwatch", "tests", "docs", ".ci", ".gitignore", "PKG-INFO"} == {
        "README.md", "LICENSE", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md",
        "pyproject.toml", "styles.tcss",
    }  # fmt: skip
    assert [name for name in names if name.endswith(".pyc") or name.startswith("tests/test_")] == []


def test_the_tools_of_package_indexes_have_no_complaint(built: Path, tmp_path: Path) -> None:
    wheel, sdist = only(built, "*.whl"), only(built, "*.tar.gz")
    run([*PINNED, "check-wheel-contents", wheel], tmp_path)
    run([*PINNED, "twine", "check", "--strict", wheel, sdist], tmp_path)
    # A better rating needs the address of an author. The project has none: people write in the repository.
    rated = run([*PINNED, "pyroma", "--min", "8", sdist], tmp_path)
    assert re.findall(r"^Your package .+", rated, re.MULTILINE) == ["Your package does not have author-email data."]


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_a_package_index_shows_readme_and_links_to_the_files_of_the_tag(
    built: Path, pattern: str, tmp_path: Path
) -> None:
    package = only(built, pattern)
    if pattern == "*.whl":
        with zipfile.ZipFile(package) as packed:
            text = packed.read(f"envwatch-{__version__}.dist-info/METADATA").decode()
    else:
        with tarfile.open(package) as packed_files:
            file = packed_files.extractfile(f"envwatch-{__version__}/PKG-INFO")
            assert file is not None
            text = file.read().decode()
    metadata = email.message_from_string(text)
    assert metadata["Description-Content-Type"] == "text/markdown"
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    assert urls["Homepage"] == ADDRESS
    assert set(urls) == {"Homepage", "Documentation", "Changelog", "Issues"}
    (tmp_path / "README.md").write_text(str(metadata.get_payload()), encoding="utf-8")
    shown = run([*PINNED, "--from", "readme-renderer[md]", "python", "-m", "readme_renderer", "README.md"], tmp_path)
    assert shown.count("<table>") == text.count("\n|---|")
    targets = re.findall(r'(?:href|src)="(.+?)"', shown)
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    files = [target.partition("#")[0].removeprefix(f"{ADDRESS}/") for target in targets if target.startswith(ADDRESS)]
    assert [each for each in files if not (ROOT / re.sub("^(blob|raw)/v9.8.7/", "", each)).is_file()] == []
    assert "raw/v9.8.7/docs/pictures/first-20-seconds.svg" in files


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_pip_installs_the_packages_into_a_fresh_environment(built: Path, pattern: str, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    run(["uv", "venv", "--quiet", "--seed", place], tmp_path)
    run([place / "bin" / "pip", "install", "--quiet", only(built, pattern)], tmp_path)
    works(place / "bin" / "envwatch", tmp_path / "home")
    assert (place / MANUAL).is_file()


def test_uv_installs_the_repository_as_a_tool(tmp_path: Path) -> None:
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    run(["uv", "tool", "install", "--quiet", ROOT], tmp_path, folders)
    works(tmp_path / "bin" / "envwatch", tmp_path / "home")


def test_pipx_installs_the_wheel(built: Path, tmp_path: Path) -> None:
    folders = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    run(["uvx", "--quiet", "pipx", "install", only(built, "*.whl")], tmp_path, folders)
    works(tmp_path / "bin" / "envwatch", tmp_path / "home")


def test_uvx_runs_the_program_from_the_repository(tmp_path: Path) -> None:
    assert run(["uvx", "--quiet", "--from", ROOT, "envwatch", "--version"], tmp_path) == f"envwatch {__version__}\n"


def test_the_executable_is_one_small_file_with_a_fast_start_once_unpacked(tmp_path: Path) -> None:
    program = tmp_path / "envwatch"
    run([ROOT / ".ci" / "build-executable", program], tmp_path)
    assert program.stat().st_size <= EXECUTABLE_BYTES
    works(program, tmp_path / "home")
    environ = outside_environ(tmp_path / "home")
    # About 40 ms, a quarter for Python; unpacking takes a hundred times as long.
    assert cpu_s([program, "--version"], environ) <= 8 * cpu_s([sys.executable, "-c", "pass"], environ)


def cpu_s(command: Sequence[str | Path], environ: Mapping[str, str]) -> float:
    """Return a command's CPU time, which other programs on the machine change little."""
    taken = []
    for _ in range(9):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=environ, capture_output=True, timeout=TIMEOUT_S, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(taken)
