"""The files for publishing: a release begins only with matching versions, and the workflows run nothing unpinned."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from support.documents import ROOT

from envwatch import __version__

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def release_notes(tag: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([root / ".ci/release-notes", tag], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a folder with all files that the script reads."""
    for name in (".ci/release-notes", "envwatch/__init__.py", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def write_changelog(root: Path, *headings: str) -> None:
    parts = [f"## {heading}\n\n- about {heading}\n" for heading in headings]
    (root / "CHANGELOG.md").write_text("\n".join(["# Changelog\n", *parts]), encoding="utf-8")


def test_the_release_notes_are_the_part_of_the_changelog_between_two_versions(copied: Path) -> None:
    write_changelog(copied, "[Unreleased]", f"[{__version__}] - 2026-11-26", "[0.1.0] - 2025-01-01")
    done = release_notes(f"v{__version__}", copied)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"- about [{__version__}] - 2026-11-26"


@pytest.mark.parametrize("tag", ["v999.0.0", __version__, "v"])
def test_a_tag_of_another_version_is_refused(tag: str) -> None:
    done = release_notes(tag)
    assert (done.returncode, done.stdout) == (1, "")
    assert __version__ in done.stderr


def test_a_version_without_a_dated_heading_is_refused(copied: Path) -> None:
    write_changelog(copied, "[Unreleased]", f"[{__version__}]", "[0.1.0] - 2025-01-01")
    done = release_notes(f"v{__version__}", copied)
    assert (done.returncode, done.stdout) == (1, "")
    assert "CHANGELOG.md" in done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_each_action_of_a_workflow_is_pinned_to_a_commit_and_names_its_version(workflow: Path) -> None:
    lines = [line for line in workflow.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not re.search(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_no_expression_of_a_workflow_becomes_a_part_of_a_shell_command(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    commands = re.findall(r"^( +)(?:- )?run: (.+\n(?:\1 +.+\n)*)", text, re.MULTILINE)
    assert commands
    assert [command for _, command in commands if "${{" in command] == []


def test_the_interpreters_of_ci_are_the_promised_ones() -> None:
    (installed,) = {
        tuple(found.split())
        for workflow in WORKFLOWS
        for found in re.findall(r"uv python install ([\d. ]+)$", workflow.read_text(encoding="utf-8"), re.MULTILINE)
    }
    (lowest,) = re.findall(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert installed[0] == lowest


def test_the_image_is_built_from_all_files_of_the_wheel() -> None:
    copies = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    copied = {source for line in copies for source in line.split()}
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = table["tool"]["hatch"]["build"]["targets"]["wheel"]
    read = {*wheel["packages"], *wheel["force-include"], *wheel["shared-data"], "pyproject.toml"}
    read |= {table["project"]["readme"], *table["project"]["license-files"]}
    assert {name for name in read if not {name, *map(str, PurePosixPath(name).parents)} & copied} == set()
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(kept) == copied
