"""The recipe "A column from the past" of docs/architecture.md, followed in a copy of the project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.documents import blocks, page, section
from support.project_copy import changed_files, copy_project, environ_in, insert_last, run_in

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = "envwatch/views/table/columns.py"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy")
    copy_project(copy)
    (declaration,) = blocks(section(page("architecture.md"), "A column from the past"))
    insert_last(copy / COLUMNS, declaration.text.rstrip("\n"), "COMPUTED")
    path = copy / "docs/stability.md"
    promised = re.sub(r"(\*\*Columns\*\*: `[^`]+)`", r"\1 outages`", path.read_text(encoding="utf-8"))
    path.write_text(promised, encoding="utf-8")
    assert changed_files(copy) == {COLUMNS, "docs/stability.md"}
    run_in(copy, "docs/generate.py")
    return copy


def test_a_new_column_from_the_past_is_computed_drawn_and_sorted(copy: Path) -> None:
    run_in(copy, "tests/support/new_column_probe.py", str(copy))


def test_a_new_column_is_listed_by_the_schema_and_the_documentation_and_refused_by_list(copy: Path) -> None:
    schema = json.loads(run_in(copy, "-m", "envwatch", "config", "schema"))
    assert '"outages"' in json.dumps(schema)
    assert "| `outages` | hours with an outage" in (copy / "docs/configuration.md").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "envwatch", "list", "--sort", "outages"]
    done = subprocess.run(command, env=environ_in(copy), cwd=copy, capture_output=True, check=False)
    assert b"cannot have outages, which only the dashboard knows" in done.stderr


@pytest.mark.slow
def test_the_tests_of_columns_and_pages_are_green_in_the_copy(copy: Path) -> None:
    names = (
        "tests/test_stability.py",
        "tests/test_recipes.py",
        "tests/test_documents.py",
        "tests/cli/test_generated_files.py",
        "tests/config/test_schema.py",
        "tests/tui/test_last_day.py",
    )
    arguments = ["-m", "pytest", "-q", "-x", "-n", "2", "-p", "no:cacheprovider", "--hypothesis-seed", "0", *names]
    run_in(copy, *arguments)
