"""`-o json` of every command that prints something once."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.documents import promises
from support.faulty_server import KEY, Faulty, down, up
from support.parsers import actions_of, parsers

from envwatch.cli.arguments import Exit

if TYPE_CHECKING:
    from support.in_process import Envwatch

STARTED: Final = time.time() * 1000

CONFIGURATION: Final = """
[[hooks]]
name = "chat"
command = ["true"]
on = ["incident"]
[[hooks]]
name = "pager"
url_env = "PAGER_URL"
on = ["offline"]
"""

LINES: Final = {
    "list": ("list", 0),
    "wait": ("wait web-1", 0),
    "check": ("check", 2),
    "report": ("report --since 1h", 0),
    "alerts list": ("alerts list", 0),
    "alerts set": ("alerts set web-1 never", 0),
    "ack": ("ack web-2", 0),
    "ack list": ("ack list", 0),
    "ack end": ("ack end web-2", 0),
    "silence": ("silence web-1 --for 2h", 0),
    "silence list": ("silence list", 0),
    "silence end": ("silence end ID", 0),
    "hooks list": ("hooks list", 0),
    "hooks test": ("hooks test", 1),
    "config show": ("config show", 0),
    "config validate": ("config validate", 0),
    "doctor": ("doctor", 0),
}
"""A command line for each command, and the exit code."""

OTHERWISE: Final = {
    "dashboard demo replay watch": "run on; a line of `watch -o jsonl` is a document, because the whole never ends",
    "serve record metrics": "print no data, or have the format of their readers",
    "config hooks alerts": "need an action",
    "config init config path config schema completion help": "print a path, a JSON schema, a script or a help",
}


def fleet(now: float) -> list[dict[str, Any]]:
    return [up("web-1", now), down("web-2", STARTED - 3_600_000)]


@pytest.fixture
def ready(envwatch: Envwatch, scripted: Faulty) -> Envwatch:
    """Return the commands with two hooks, of which one lacks its variable."""
    envwatch.write_config(CONFIGURATION)
    envwatch.connect(scripted.url, ENVWATCH_ALERT="id:*")
    return envwatch


def has_json(name: str) -> bool:
    outputs = [action.choices for action in actions_of(parsers()[name]) if "--output" in action.option_strings]
    return any("json" in choices for choices in outputs if choices)


def test_every_command_prints_json_or_has_a_reason() -> None:
    exempt = {name for names in OTHERWISE for name in parsers() if f" {name} " in f" {names} " and name not in LINES}
    assert {name for name in parsers() if has_json(name)} == {*LINES}
    assert {*parsers()} - {*LINES} == exempt


def outcome_of(ready: Envwatch, name: str) -> Any:
    line, code = LINES[name]
    if name == "silence end":
        (id_,) = ready("silence", "web-2", "--for", "2h").out.split()
        line = line.replace("ID", id_)
    if name == "ack end":
        assert ready("ack", "web-2").code == 0
    if name == "report":
        assert ready("watch", "--for", "1").code == 0
    ended = ready(*line.split(), "-o", "json")
    assert ended.code == code, ended.err
    return json.loads(ended.out)


@pytest.mark.parametrize("name", LINES)
def test_a_command_prints_one_json_document(ready: Envwatch, name: str) -> None:
    assert isinstance(outcome_of(ready, name), dict | list)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ack", "An acknowledgement of `ack` and `ack end`"),
        ("ack end", "An acknowledgement of `ack` and `ack end`"),
        ("wait", "A machine of `wait`"),
        ("hooks list", "A hook of `hooks list`"),
        ("hooks test", "A result of `hooks test`"),
        ("silence end", "A silence"),
        ("silence", "A silence"),
        ("alerts set", "A decision of `alerts`"),
        ("check", "A result of `check`"),
        ("config validate", "A result of `config validate`"),
    ],
)
def test_the_page_names_the_members(ready: Envwatch, name: str, label: str) -> None:
    found = outcome_of(ready, name)
    members = found[0] if isinstance(found, list) else found
    assert [*members] == promises()[label]


def test_shown_settings_have_value_and_origin_and_never_the_key(ready: Envwatch) -> None:
    (shown,) = outcome_of(ready, "config show")
    assert {name: [*each] for name, each in shown.items()} == dict.fromkeys(
        shown, promises()["A setting of `config show`"]
    )
    table = [line.split()[0] for line in ready("config", "show").out.splitlines()]
    assert [*shown] == table
    assert shown["api_key"] == {"value": "********", "origin": "LETTA_API_KEY"}
    assert shown["interval"] == {"value": "5s", "origin": "default"}
    assert shown["history"]["value"] is True
    assert KEY not in json.dumps(shown)


def test_a_failed_check_is_json_too(envwatch: Envwatch, scripted: Faulty) -> None:
    envwatch.connect(scripted.url, key="wrong-key-0123456789")
    ended = envwatch("check", "-o", "json")
    found = json.loads(ended.out)
    assert (ended.code, found["status"], found["metrics"]) == (3, "UNKNOWN", {})


def test_a_mistake_of_the_file_is_json_with_exit_code_2(envwatch: Envwatch) -> None:
    path = envwatch.write_config("nonsense = 1\n")
    ended = envwatch("config", "validate", "-o", "json")
    found = json.loads(ended.out)
    assert (ended.code, found["config"], found["exists"], found["warnings"]) == (Exit.USAGE, str(path), True, [])
    assert len(found["mistakes"]) == 1


def test_a_listed_hook_says_what_it_lacks(ready: Envwatch) -> None:
    chat, pager = outcome_of(ready, "hooks list")
    assert (chat["name"], chat["on"], chat["problems"]) == ("chat", ["incident"], [])
    assert "PAGER_URL" in pager["problems"][0]
    table = ready("hooks", "list").out.splitlines()
    assert table[0].split() == ["NAME", "ON", "TO", "PROBLEM"]
    assert [line.split()[0] for line in table[1:]] == ["chat", "pager"]


def test_no_hooks_is_a_sentence_and_an_empty_array(envwatch: Envwatch) -> None:
    assert envwatch("hooks", "list") == (0, "", "there are no hooks; `envwatch config init` explains them\n")
    assert envwatch("hooks", "list", "-o", "json") == (0, "[]\n", "")


def test_the_list_names_a_hook_of_the_file_that_cannot_be_used(envwatch: Envwatch) -> None:
    path = envwatch.write_config('[[hooks]]\nname = "chat"\n')
    ended = envwatch("hooks", "list")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith(f"envwatch: {path}:1: ")
    assert len(ended.err.splitlines()) == 1, "no word that there are none"
