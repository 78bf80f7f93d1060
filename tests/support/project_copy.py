"""A copy of the project for tests that follow a recipe."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from support.documents import ROOT
from support.faulty_server import KEY
from support.pty_terminal import environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COPIED = (
    ".ci",
    "envwatch",
    "docs",
    "tests",
    "styles.tcss",
    "pyproject.toml",
    *(path.name for path in ROOT.glob("*.md")),
)


def copy_project(copy: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)


def remove_bytecode(copy: Path) -> None:
    """Remove the copy's bytecode from the place where `conftest.py` keeps bytecode."""
    if sys.pycache_prefix is not None:
        shutil.rmtree(f"{sys.pycache_prefix}{copy}", ignore_errors=True)


def insert_last(path: Path, block: str, container: str) -> None:
    """Append lines, with their indentation.

    Args:
        path: a module.
        block: the lines, without the last line end.
        container: a class (`Environment`, after the last field; a method after the last statement), or the name of a
            tuple, list or dictionary, at the top of the module (`_ALL`) or of a class (`RowActions.BINDINGS`).
    """
    text = path.read_text(encoding="utf-8")
    body, (*outer, name) = ast.parse(text).body, container.split(".")
    for each in outer:
        (body,) = (node.body for node in body if isinstance(node, ast.ClassDef) and node.name == each)
    place = 0
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            is_method = block.lstrip().startswith("def ")
            place = [each for each in node.body if is_method or not isinstance(each, ast.FunctionDef)][
                -1
            ].end_lineno or 0
            block = f"\n{block}" if is_method else block
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            place = (node.end_lineno or 0) - 1
    insert_after(path, block, place)


def insert_after(path: Path, block: str, place: int) -> None:
    """Insert lines, without the last line end, after so many lines of a file."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:place], f"{block}\n", *lines[place:]]), encoding="utf-8")


def insert_in_table(path: Path, row: str, title: str) -> None:
    """Append a row to the first table under a heading of the second level."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(number for number in range(lines.index(f"## {title}"), len(lines)) if lines[number].startswith("|"))
    last = next(number for number in range(first, len(lines)) if not lines[number].startswith("|"))
    insert_after(path, row, last)


def changed_files(copy: Path) -> set[str]:
    files = [
        path for name in COPIED for path in ((ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name])
    ]
    names = [path.relative_to(ROOT).as_posix() for path in files if path.is_file() and "__pycache__" not in path.parts]
    return {name for name in names if (copy / name).read_bytes() != (ROOT / name).read_bytes()}


def environ_in(copy: Path, **more: str) -> dict[str, str]:
    return environment(copy, PYTHONPATH=f"{copy}:{copy / 'tests'}", LETTA_API_KEY=KEY, **more)


def run_in(copy: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> bytes:
    done = subprocess.run(
        [sys.executable, *arguments], env=environ or environ_in(copy), cwd=copy, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stderr + done.stdout[-8000:]).decode()
    return done.stdout
