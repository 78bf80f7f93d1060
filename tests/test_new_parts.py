"""The recipes of docs/architecture.md with examples, followed in one copy of the project."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.builders import wire_row
from support.byte_scanner import findings
from support.documents import blocks, page, section
from support.faulty_server import serving
from support.project_copy import (
    changed_files,
    copy_project,
    environ_in,
    insert_in_table,
    insert_last,
    remove_bytecode,
    run_in,
)
from support.pty_terminal import ENTER, Terminal
from support.receiver import receiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.faulty_server import Faulty

pytestmark = pytest.mark.slow

HOSTILE: Final = "eu\x1b]0;pwned\x07\x9b31m\u202e-1"
SHOWN: Final = r"eu\x1b]0;pwned\x07\x9b31m\u202e-1"
FORMATS: Final = ("table", "json", "jsonl", "csv", "line", "name")


def recipe(title: str) -> list[str]:
    """Return the code of a recipe."""
    found = blocks(section(page("architecture.md"), title))
    return [block.text for block in found if block.language == "text"]


def insert_field(copy: Path) -> set[str]:
    declaration, presentation = recipe("A field of the API")
    insert_last(copy / "envwatch/model/environment.py", declaration.rstrip("\n"), "Environment")
    insert_last(copy / "envwatch/query/presentation.py", presentation.rstrip("\n"), "_SENT")
    promise(copy, "Columns", "site cores gpu")
    promise(copy, "A machine, in this order, also of JSON lines and CSV", "site cores has_gpu")
    promise_filter(copy, "site cores gpu")
    return {"envwatch/model/environment.py", "envwatch/query/presentation.py"}


def insert_column(copy: Path) -> set[str]:
    (declaration,) = recipe("A column from the past")
    insert_last(copy / "envwatch/query/presentation.py", declaration.rstrip("\n"), "_COMPUTED")
    promise(copy, "Columns", "outages")
    promise_filter(copy, "outages")
    return {"envwatch/query/presentation.py"}


def insert_delivery(copy: Path) -> set[str]:
    module, line, entry = recipe("A way to deliver messages")
    (copy / "envwatch/deliver/gotify.py").write_text(module, encoding="utf-8")
    path = copy / "envwatch/config/hooks.py"
    text = path.read_text(encoding="utf-8").replace(
        "\nfrom envwatch.deliver.rules", f"\n{line}from envwatch.deliver.rules"
    )
    path.write_text(re.sub(r"(DELIVERIES: .*)\)\n", rf"\1, {entry.strip()})\n", text), encoding="utf-8")
    promise(copy, "Settings of a hook", "gotify gotify_token_env")
    return {"envwatch/config/hooks.py"}


def insert_key(copy: Path) -> set[str]:
    line, binding, action = recipe("A key on a row")
    path = copy / "envwatch/screen/screens/row_actions.py"
    insert_last(path, binding.rstrip("\n"), "RowActions.BINDINGS")
    insert_last(path, action.rstrip("\n"), "RowActions")
    next_line = "from envwatch.watch.acknowledging"
    path.write_text(path.read_text(encoding="utf-8").replace(next_line, f"{line}{next_line}", 1), encoding="utf-8")
    keys = copy / "docs/keys.md"
    ids = r"(gives such a command a key by its id:\n`[^`]+)`"
    keys.write_text(re.sub(ids, r"\1\nmachine.copy_id`", keys.read_text(encoding="utf-8")), encoding="utf-8")
    promise(copy, "Ids of actions, for `[keys]`", "machine.copy_id")
    return {"envwatch/screen/screens/row_actions.py", "docs/keys.md"}


def insert_badge(copy: Path) -> set[str]:
    part, row = (block.rstrip("\n") for block in recipe("A badge"))
    path = copy / "envwatch/screen/widgets/status_bar.py"
    before, badges, after = path.read_text(encoding="utf-8").partition("    def _badges(self)")
    path.write_text(before + badges + after.replace("        return parts\n", f"{part}\n        return parts\n", 1))
    insert_in_table(copy / "docs/states.md", row, "Badges")
    return {"envwatch/screen/widgets/status_bar.py", "docs/states.md"}


def insert_command(copy: Path) -> set[str]:
    module, entry, contract, row, options, transcript = recipe("A command")
    (copy / "envwatch/cli/commands/count.py").write_text(module, encoding="utf-8")
    insert = {
        "envwatch/cli/arguments.py": ('        "wait":', entry),
        "pyproject.toml": ('    "envwatch.cli.commands.check",', contract),
        "README.md": ("| `envwatch wait` |", row),
        "docs/stability.md": ("| `wait` |", options),
    }
    for name, (line, block) in insert.items():
        path = copy / name
        path.write_text(path.read_text(encoding="utf-8").replace(line, f"{block}{line}", 1), encoding="utf-8")
    (copy / "tests/transcripts/count.txt").write_text(transcript, encoding="utf-8")
    return {*insert}


def promise(copy: Path, title: str, name: str) -> None:
    path = copy / "docs/stability.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"(\*\*{re.escape(title)}\*\*: `[^`]+)`", rf"\1 {name}`", text), encoding="utf-8")


def promise_filter(copy: Path, name: str) -> None:
    path = copy / "docs/stability.md"
    fields = r"(\*\*Fields of the filter\*\*: `[^`]+)(\s)meta\.KEY`"
    path.write_text(re.sub(fields, rf"\1 {name}\2meta.KEY`", path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    copy = tmp_path_factory.mktemp("copy")
    copy_project(copy)
    inserts = (insert_field, insert_column, insert_delivery, insert_key, insert_badge, insert_command)
    changed = {name for insert in inserts for name in insert(copy)}
    assert changed_files(copy) == changed | {"docs/stability.md"}
    run_in(copy, "docs/generate.py")
    run_in(copy, "tests/transcripts/write.py", *(path.stem for path in (copy / "tests/transcripts").glob("*.txt")))
    yield copy
    remove_bytecode(copy)


def test_a_new_field_is_decoded_drawn_found_recorded_redacted_and_served_by_three_edits(copy: Path) -> None:
    run_in(copy, "tests/support/new_field_probe.py", str(copy))


def test_another_number_than_the_next_free_one_is_refused(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy / "envwatch", tmp_path / "envwatch")
    path = tmp_path / "envwatch/model/environment.py"
    path.write_text(path.read_text(encoding="utf-8").replace('ApiField("site", 31', 'ApiField("site", 5'))
    done = subprocess.run(
        [sys.executable, "-c", "import envwatch.stored.rows"],
        env=environ_in(copy),
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert b"the numbers of cells must be 0 to 33, each once" in done.stderr


def hostile_rows() -> list[dict[str, Any]]:
    now = time.time() * 1000
    beat = {"lastHeartbeat": now, "lastSeenAt": now}
    return [wire_row("env-1", site=HOSTILE, **beat), wire_row("env-2", site="us-1", **beat)]


def environ_for(server: Faulty, copy: Path, home: Path, **more: str) -> dict[str, str]:
    return environ_in(copy, LETTA_BASE_URL=server.url, **more) | {"HOME": str(home)}


@pytest.mark.parametrize("format_", FORMATS)
def test_no_format_prints_a_control_character_of_a_new_field(copy: Path, tmp_path: Path, format_: str) -> None:
    with serving(hostile_rows()) as server:
        environ = environ_for(server, copy, tmp_path)
        printed = run_in(copy, "-m", "envwatch", "list", "-o", format_, "--filter", "site:eu*", environ=environ)
    assert findings(printed) == set()
    assert b"us-1" not in printed


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


def test_a_new_column_from_the_past_is_computed_drawn_and_sorted(copy: Path) -> None:
    run_in(copy, "tests/support/new_column_probe.py", str(copy))


def test_a_new_column_is_listed_by_the_schema_and_the_documentation_and_refused_by_list(copy: Path) -> None:
    schema = json.loads(run_in(copy, "-m", "envwatch", "config", "schema"))
    assert '"outages"' in json.dumps(schema)
    assert "| `outages` | hours with an outage" in (copy / "docs/configuration.md").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "envwatch", "list", "--sort", "outages"]
    done = subprocess.run(command, env=environ_in(copy), cwd=copy, capture_output=True, check=False)
    assert b"cannot have outages, which only the dashboard knows" in done.stderr


def environ_with(copy: Path, folder: Path, hook: str, **variables: str) -> Mapping[str, str]:
    path = folder / "config.toml"
    path.write_text(f"[[hooks]]\n{hook}\n", encoding="utf-8")
    return environ_in(copy, ENVWATCH_CONFIG=str(path), **variables)


async def test_a_new_delivery_is_accepted_shown_sent_and_documented(copy: Path, tmp_path: Path) -> None:
    async with receiver() as server:
        address = server.url.replace("/hook?token=t0", "/secret-of-a-path/message")
        hook = f'gotify = "{address}"\ngotify_token_env = "TOKEN"'
        environ = environ_with(copy, tmp_path, hook, TOKEN="A-secret-token-of-gotify")
        run_in(copy, "-m", "envwatch", "config", "validate", environ=environ)
        shown = run_in(copy, "-m", "envwatch", "config", "show", environ=environ)
        tested = await asyncio.to_thread(run_in, copy, "-m", "envwatch", "hooks", "test", environ=environ)
        opened, resolved = server.posted
    assert b"incident: Gotify at http://127.0.0.1/" in shown
    assert b"ok      opened and resolved" in tested
    assert b"secret" not in shown + tested
    assert opened.headers["x-gotify-key"] == "A-secret-token-of-gotify"
    assert opened.json["title"].startswith("test of envwatch hooks went offline")
    assert resolved.json["title"].startswith("resolved after 1m")
    assert (opened.json["priority"], resolved.json["priority"]) == (8, 2)
    page_of_hooks = (copy / "docs/without-a-screen.md").read_text(encoding="utf-8")
    assert "\n| `gotify` | Address of a Gotify server" in page_of_hooks


def validated(copy: Path, environ: Mapping[str, str]) -> list[str]:
    command = [sys.executable, "-m", "envwatch", "config", "validate"]
    return subprocess.run(
        command, env=environ, cwd=copy, capture_output=True, text=True, check=False
    ).stderr.splitlines()


def test_mistakes_with_a_new_delivery_are_named(copy: Path, tmp_path: Path) -> None:
    address, token = 'gotify = "https://a.example/message"', 'gotify_token_env = "TOKEN"'
    reasons = {
        "": "needs what takes its messages: command, url, url_env, apprise or gotify",
        f'{address}\n{token}\ncommand = ["b"]': "has command and gotify, and can have one of them only",
        f'{address}\n{token}\nkey_env = "K"': "has key_env, which goes with url only",
        f'command = ["b"]\n{token}': "has gotify_token_env, which goes with gotify only",
        address: "needs gotify_token_env, the variable with the token of an application of Gotify",
        f"gotify = 3\n{token}": "gotify must be a text of one line",
        f'gotify = "http://a.example/message"\n{token}': "gotify cannot be used: ",
        f'gotify = "https://a.example"\n{token}': "gotify must end with /message, as in https://push.example.com/message",
    }
    found = validated(copy, environ_with(copy, tmp_path, "\n[[hooks]]\n".join(reasons)))
    assert [why in line for why, line in zip(reasons.values(), found, strict=True)] == [True] * len(reasons), found


def test_a_new_delivery_that_cannot_work_here_is_named_with_a_fix(copy: Path, tmp_path: Path) -> None:
    hook = 'gotify = "https://a.invalid/message"\ngotify_token_env = "TOKEN"'
    (missing, *_) = validated(copy, environ_with(copy, tmp_path, hook))
    assert "TOKEN is not set: correct it where envwatch runs" in missing
    (wrong, *_) = validated(copy, environ_with(copy, tmp_path, hook, TOKEN="C-client"))
    assert wrong.endswith("TOKEN has a client's token: create an application in Gotify, and use its token")


def test_a_new_action_on_a_row_stands_in_the_palette_and_a_new_badge_on_the_screen(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[keys]\n"machine.copy_id" = "I"\n', encoding="utf-8")
    with serving(hostile_rows()) as server:
        environ = environ_for(server, copy, tmp_path, ENVWATCH_CONFIG=str(tmp_path / "config.toml"))
        command = [sys.executable, "-m", "envwatch"]
        with Terminal(command, environ, columns=160, lines=40, may_fork=False) as terminal:
            terminal.wait_for("laptop of env-1")
            terminal.press("I")
            terminal.wait_for("sent to the clipboard: env-[12]")
            terminal.press("b", "j", ENTER)
            terminal.wait_for(" GROUP [a-z]+ ")
            terminal.press(":", *"environment's id")
            terminal.wait_for("Copy the environment's id")
            terminal.press("\x1b")
            terminal.wait_for_no("Copy the environment's id")
            terminal.press("q")
            assert terminal.wait_for_end() == 0


def test_a_new_command_prints_is_in_help_and_completions_and_imports_no_terminal_library(
    copy: Path, tmp_path: Path
) -> None:
    with serving(hostile_rows()) as server:
        printed = run_in(copy, "-m", "envwatch", "count", environ=environ_for(server, copy, tmp_path))
    assert printed == b"2\n"
    assert b"  count " in run_in(copy, "-m", "envwatch", "--help")
    assert b"count" in run_in(copy, "-m", "envwatch", "completion", "bash")
    contracts = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    run_in(copy, "-c", contracts)


def test_the_tests_of_rows_columns_keys_commands_and_pages_are_green_in_the_copy(copy: Path) -> None:
    names = (
        "tests/test_stability.py",
        "tests/test_recipes.py",
        "tests/test_documents.py",
        "tests/cli/test_shipped_files.py",
        "tests/model/test_environment.py",
        "tests/model/test_listing_api.py",
        "tests/model/test_page.py",
        "tests/history/test_golden.py",
        "tests/history/test_redaction.py",
        "tests/history/encoding",
        "tests/serve/test_listing.py",
        "tests/views/test_output.py",
        "tests/views/test_views.py",
        "tests/config/test_schema.py",
        "tests/screen/test_row_renderer.py",
        "tests/screen/test_every_key.py",
        "tests/transcripts/test_transcripts.py::test_every_command_and_every_option_stands_in_a_transcript",
        "tests/e2e/test_hostile.py::test_a_hostile_listing_is_text_in_every_format",
    )
    arguments = ["-m", "pytest", "-q", "-x", "-n", "2", "-p", "no:cacheprovider", "--hypothesis-seed", "0", *names]
    run_in(copy, *arguments)
