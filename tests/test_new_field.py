"""The recipe "A field of the API" of docs/architecture.md, followed in a copy of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import wire_row
from support.byte_scanner import findings, serving
from support.documents import blocks, page, section
from support.project_copy import changed_files, copy_project, environ_in, insert_last, run_in
from support.pty_terminal import ENTER, Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from support.faulty_server import Faulty

HOSTILE = "eu\x1b]0;pwned\x07\x9b31m\u202e-1"
SHOWN = r"eu\x1b]0;pwned\x07\x9b31m\u202e-1"
PROMISES = ("Columns", "A row, in this order, also of JSON lines and CSV")
FORMATS = ("table", "json", "jsonl", "csv", "line", "name")


def promise(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for title in PROMISES:
        text = re.sub(rf"(\*\*{title}\*\*: `[^`]+)`", r"\1 site`", text)
    text = re.sub(r"(\*\*Fields of the filter\*\*: `[^`]+)(\s)meta\.KEY`", r"\1 site\2meta.KEY`", text)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy")
    copy_project(copy)
    declaration, presentation = [
        block.text.rstrip("\n")
        for block in blocks(section(page("architecture.md"), "A field of the API"))
        if block.language == "text"
    ]
    insert_last(copy / "envwatch/model/environment.py", declaration, "Environment")
    insert_last(copy / "envwatch/presentation.py", presentation, "_ALL")
    promise(copy / "docs/stability.md")
    assert changed_files(copy) == {"envwatch/model/environment.py", "envwatch/presentation.py", "docs/stability.md"}
    run_in(copy, "docs/generate.py")
    return copy


def test_a_new_field_is_decoded_drawn_found_recorded_redacted_and_served_by_three_edits(copy: Path) -> None:
    run_in(copy, "tests/support/new_field_probe.py", str(copy))


def test_another_number_than_the_next_free_one_is_refused(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy / "envwatch", tmp_path / "envwatch")
    path = tmp_path / "envwatch/model/environment.py"
    path.write_text(path.read_text(encoding="utf-8").replace('ApiField("site", 31', 'ApiField("site", 5'))
    done = subprocess.run(
        [sys.executable, "-c", "import envwatch.history.encoding.codecs"],
        env=environ_in(copy),
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert b"the numbers of cells must be 0 to 31, each once" in done.stderr


def hostile_rows() -> list[dict[str, Any]]:
    now = time.time() * 1000
    beat = {"lastHeartbeat": now, "lastSeenAt": now}
    return [wire_row("env-1", site=HOSTILE, **beat), wire_row("env-2", site="us-1", **beat)]


def environ_for(server: Faulty, copy: Path, home: Path, **more: str) -> dict[str, str]:
    return environ_in(copy, LETTA_BASE_URL=server.url, **more) | {"HOME": str(home)}


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
def test_no_format_prints_a_control_character_of_a_new_field(copy: Path, tmp_path: Path, format_: str) -> None:
    with serving(hostile_rows()) as server:
        environ = environ_for(server, copy, tmp_path)
        printed = run_in(copy, "-m", "envwatch", "list", "-o", format_, "--filter", "site:eu*", environ=environ)
    assert findings(printed) == set()
    assert b"us-1" not in printed


@pytest.mark.slow
def test_the_dashboard_draws_a_new_field_in_column_and_pane_as_text(copy: Path, tmp_path: Path) -> None:
    with serving(hostile_rows()) as server:
        environ = environ_for(server, copy, tmp_path, ENVWATCH_COLUMNS="site")
        command = [sys.executable, "-m", "envwatch"]
        with Terminal(command, environ, columns=160, lines=40, may_fork=False) as terminal:
            terminal.wait_for("NAME.*SITE")
            terminal.wait_for(r"laptop of env-1.*eu\\x1b")
            terminal.press(ENTER)
            terminal.wait_for("site +eu" + re.escape(r"\x1b]0;pwned\x07\x9b31m\u202e-1"))
            terminal.press("/", *"site:us", ENTER)
            terminal.wait_for_no("laptop of env-1")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
    assert b"pwned\x07" not in terminal.received
    assert "\u202e".encode() not in terminal.received


@pytest.mark.slow
def test_a_recording_keeps_a_new_field_and_a_redacted_one_hides_its_text(copy: Path, tmp_path: Path) -> None:
    plain, redacted = tmp_path / "plain.recording", tmp_path / "redacted.recording"
    with serving(hostile_rows()) as server:
        environ = environ_for(server, copy, tmp_path)
        for path, options in ((plain, []), (redacted, ["--redact"])):
            command = ["-m", "envwatch", "record", "-o", str(path), "--for", "3s", "--interval", "1s", *options]
            run_in(copy, *command, environ=environ)
    program = (
        "import sys; from contextlib import closing; from pathlib import Path\n"
        "from envwatch.history.stored import RecordedFile\n"
        "with closing(RecordedFile(Path(sys.argv[1]))) as past:\n"
        "    polls = past.polls(float('-inf'), float('inf'))\n"
        "    for each in past.moment(polls[-1]).profile_state.environments.values(): print(each.environment.site)"
    )
    shown, hidden = (run_in(copy, "-c", program, str(path)).decode().split() for path in (plain, redacted))
    assert shown == [SHOWN, "us-1"]
    assert [text[:5] for text in hidden] == ["text-", "text-"]


@pytest.mark.slow
def test_the_tests_of_rows_names_and_pages_are_green_in_the_copy(copy: Path) -> None:
    names = (
        "tests/test_stability.py",
        "tests/test_recipes.py",
        "tests/test_documents.py",
        "tests/cli/test_generated_files.py",
        "tests/model",
        "tests/history/test_golden.py",
        "tests/history/test_redaction.py",
        "tests/history/encoding",
        "tests/serving/test_listing.py",
        "tests/views/test_output.py",
        "tests/views/test_baseline.py",
        "tests/e2e/test_hostile.py::test_a_hostile_listing_is_text_in_every_format",
    )
    arguments = ["-m", "pytest", "-q", "-x", "-n", "2", "-p", "no:cacheprovider", "--hypothesis-seed", "0", *names]
    run_in(copy, *arguments)
