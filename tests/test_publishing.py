"""The files for publishing: a release begins only with matching versions, and nothing unpinned runs or is published."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
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
    for name in (".ci/release-notes", ".ci/version", "envwatch/__init__.py", "CHANGELOG.md"):
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


def test_ci_and_release_test_the_interpreters_of_the_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = [found[1] for each in project["classifiers"] if (found := re.search(r"Python :: (3\.\d+)$", each))]
    assert project["requires-python"] == f">={promised[0]}"
    for workflow in ("ci.yml", "release.yml"):
        text = (ROOT / ".github/workflows" / workflow).read_text(encoding="utf-8")
        installed = re.findall(r"uv python install ([\d. ]+)$", text, re.MULTILINE)
        assert [line.split() for line in installed] == [promised]
        for matrix in re.findall(r"python: (\[.+\])$", text, re.MULTILINE):
            assert json.loads(matrix) == promised


def test_each_dependency_of_a_release_has_one_version_within_its_bounds() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts = [*table["project"]["dependencies"], *table["dependency-groups"]["release"]]
    texts += [text for extra in table["project"]["optional-dependencies"].values() for text in extra]
    lines = map(Requirement, (ROOT / ".ci/pins.txt").read_text(encoding="utf-8").splitlines())
    pins = {pin.name: pin.specifier for pin in lines}
    assert [name for name, pin in pins.items() if not str(pin).startswith("==")] == []
    wanted = {each.name: each.specifier for each in map(Requirement, texts)}
    versions = {name: str(pins[name]).removeprefix("==") for name in wanted}
    assert [name for name, bounds in wanted.items() if versions[name] not in bounds] == []


def test_the_release_names_the_repository_in_readme_and_metadata(tmp_path: Path) -> None:
    for name in (".ci/address.py", "README.md", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    before = (tmp_path / "README.md").read_text(encoding="utf-8")
    subprocess.run([tmp_path / ".ci/address.py", "https://git.example/team/envwatch", "v9.8.7"], timeout=60, check=True)
    table = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))
    assert table["project"]["urls"] == {
        "Homepage": "https://git.example/team/envwatch",
        "Documentation": "https://git.example/team/envwatch/tree/v9.8.7/docs",
        "Changelog": "https://git.example/team/envwatch/blob/v9.8.7/CHANGELOG.md",
        "Issues": "https://git.example/team/envwatch/issues",
    }
    after = (tmp_path / "README.md").read_text(encoding="utf-8")
    link = re.compile(r"(!?)\[[^]]*\]\((.+?)\)")
    assert link.sub("", after) == link.sub("", before)
    kinds = {"": "https://git.example/team/envwatch/blob/v9.8.7/", "!": "https://git.example/team/envwatch/raw/v9.8.7/"}
    assert [target for _, target in link.findall(after)] == [
        target if target.startswith("https://") else kinds[picture] + target for picture, target in link.findall(before)
    ]


@pytest.mark.parametrize("arguments", [[], ["https://git.example/team/envwatch"], ["git.example/team/envwatch", "v9"]])
def test_without_address_and_tag_the_copy_stays(arguments: list[str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    done = subprocess.run(
        [tmp_path / ".ci/address.py", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (
        1, "name the address and the tag: .ci/address.py https://github.com/OWNER/envwatch v2.0.0\n"
    )  # fmt: skip


def test_the_image_begins_from_one_content() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    (base,) = set(bases)
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", base)


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
