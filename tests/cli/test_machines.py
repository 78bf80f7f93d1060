"""`[NAME|QUERY]`, `--name` and `--filter`: which machines a command asks about or acts on."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.faulty_server import KEY, Faulty, down
from support.pty_terminal import Terminal

if TYPE_CHECKING:
    from support.in_process import Envwatch

STARTED = time.time() * 1000
NAMES = {
    "e1": "web-1",
    "e2": "web-10",
    "e3": "list",
    "e4": "twin",
    "e5": "twin",
    "e6": "my laptop",
    "e7": "db:1",
    "e8": "old (2)",
}
COMMANDS = {
    "list": "list {} -o name",
    "wait": "wait {} --timeout 9",
    "ack": "ack {} --yes",
    "silence": "silence {} --for 1h --yes",
    "alerts set": "alerts set {} never --yes",
}


def fleet(_: float) -> list[dict[str, Any]]:
    return [down(id_, STARTED - 60_000, connectionName=name) for id_, name in NAMES.items()]


def split(command: str, *machines: str) -> list[str]:
    """Return the words of a command, with `machines` in place of the braces."""
    before, after = command.split("{}")
    return [*before.split(), *machines, *after.split()]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("scripted")
def test_a_name_of_two_machines_is_refused_with_their_ids(envwatch: Envwatch, command: str) -> None:
    for machines in (("twin",), ("--name", "twin")):
        ended = envwatch(*split(COMMANDS[command], *machines))
        assert (ended.code, ended.line) == (2, "2 machines are called twin: name one by its id: e4, e5")
    assert envwatch(*split(COMMANDS[command], "e4")).code == 0
    assert envwatch(*split(COMMANDS[command], "name:twin")).code == 0


@pytest.mark.parametrize(
    ("machines", "found"),
    [
        (["web-1"], ["web-1"]),
        (["WEB-1"], ["web-1"]),
        (["e2"], ["web-10"]),
        (["web-*"], ["web-1", "web-10"]),
        (["name:web-*"], ["web-1", "web-10"]),
        (["web-1 status:off"], ["web-1"]),
        (["my laptop"], ["my laptop"]),
        (['"db:1"'], ["db:1"]),
        (["--name", "db:1"], ["db:1"]),
        (["--name", "list"], ["list"]),
        (["--name", "old (2)"], ["old (2)"]),
        (["--filter", "web"], ["web-1", "web-10"]),
        (["--filter=name:web-1"], ["web-1"]),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("scripted")
def test_every_command_finds_the_same_machines(
    envwatch: Envwatch, command: str, machines: list[str], found: list[str]
) -> None:
    ended = envwatch(*split(COMMANDS[command], *machines))
    assert ended.code == 0, ended.err
    match command:
        case "list" | "wait":
            assert sorted(ended.out.splitlines()) == found
        case "ack":
            assert acked(envwatch) == found
        case "silence":
            assert silenced(envwatch) == found
        case "alerts set":
            assert overridden(envwatch) == found


def acked(envwatch: Envwatch) -> list[str]:
    return sorted(each["name"] for each in json.loads(envwatch("ack", "list", "-o", "json").out))


def silenced(envwatch: Envwatch) -> list[str]:
    return sorted(envwatch("list", "silenced:yes", "-o", "name").out.splitlines())


def overridden(envwatch: Envwatch) -> list[str]:
    listed = json.loads(envwatch("alerts", "list", "-o", "json").out)
    return sorted(each["name"] for each in listed if each["pages_by"] == "override" and not each["pages"])


def changed(envwatch: Envwatch) -> list[str]:
    return acked(envwatch) + silenced(envwatch) + overridden(envwatch)


@pytest.mark.parametrize("command", ["ack", "silence", "alerts set"])
@pytest.mark.parametrize(
    ("machines", "line"),
    [
        ("web", "no machine is called web; the nearest: web-1, web-10; name:*web* finds 2"),
        ("name:web", "name:web matches none of 8 machines; the nearest: web-1, web-10; name:*web* finds 2"),
        ("off", "no machine is called off; did you mean status:off?"),
        ("web-2*", "web-2* matches none of 8 machines; the nearest: web-1, web-10"),
        ("nothing-like-this", "no machine is called nothing-like-this; `envwatch list` prints all"),
    ],
)
@pytest.mark.usefixtures("scripted")
def test_an_action_on_nothing_is_refused_with_the_nearest_names(
    envwatch: Envwatch, command: str, machines: str, line: str
) -> None:
    ended = envwatch(*split(COMMANDS[command], machines))
    assert (ended.code, ended.line) == (2, line)
    assert changed(envwatch) == []


VERBS = {"ack": "acknowledge", "silence": "silence", "alerts set": "override"}


@pytest.mark.parametrize(
    ("answer", "code"), [("\r", 1), ("n\r", 1), ("\x04", 1), ("y\r", 0)], ids=["enter", "no", "end", "yes"]
)
@pytest.mark.parametrize("command", VERBS)
def test_a_terminal_lists_what_a_query_matches_and_asks(
    envwatch: Envwatch, scripted: Faulty, command: str, answer: str, code: int
) -> None:
    words = split(COMMANDS[command].removesuffix("--yes"), "name:web-*")
    environ = {"XDG_STATE_HOME": str(envwatch.home), "LETTA_API_KEY": KEY, "LETTA_BASE_URL": scripted.url}
    with Terminal.of_envwatch(*words, home=envwatch.home, columns=120, environ=environ) as terminal:
        of = "that are down" if command == "ack" else "of 8 machines now"
        terminal.wait_for(rf"name:web-\* matches 2 {of}: web-1, web-10")
        terminal.wait_for(rf"{VERBS[command].capitalize()} 2 machines\? \[y/N\]")
        terminal.press(answer)
        assert terminal.wait_for_end() == code
        assert ("nothing is " in terminal.text) is bool(code)
    assert changed(envwatch) == (["web-1", "web-10"] if code == 0 else [])


@pytest.mark.usefixtures("scripted")
def test_a_list_before_a_question_tells_twins_apart_by_their_ids(envwatch: Envwatch) -> None:
    line = envwatch("silence", "tw*", "--for", "1h").err.splitlines()[0]
    assert line == "tw* matches 2 of 8 machines now: twin e4, twin e5"


@pytest.mark.parametrize("command", VERBS)
@pytest.mark.usefixtures("scripted")
def test_without_a_terminal_a_query_needs_a_yes_though_it_matches_one_machine(envwatch: Envwatch, command: str) -> None:
    line = COMMANDS[command].removesuffix(" --yes")
    for query in ("name:web-1", "web-1*", "web-1 status:off", "--filter=web-10"):
        ended = envwatch(*split(line, query))
        typed = query.removeprefix("--filter=")
        why = f"{typed} may match other machines tomorrow: {VERBS[command]} them with --yes, or name one machine"
        assert (ended.code, ended.err.splitlines()[-1]) == (2, f"envwatch: {why}")
    assert changed(envwatch) == []
    assert envwatch(*split(line, "web-1")).code == 0


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("wait --timeout 9", "NAME|QUERY is missing"),
        ("ack", "NAME|QUERY|INCIDENT is missing"),
        ("silence --for 1h", "NAME|QUERY is missing"),
        ("alerts set", "NAME|QUERY is missing"),
        ("silence --filter= --for 1h --yes", "NAME|QUERY is missing"),
        ("alerts set --filter= never --yes", "NAME|QUERY is missing"),
        ("silence web-1", "a silence needs --for TIME or --until TIME"),
        (
            "ack web-1 --filter x",
            "`envwatch ack` takes one NAME|QUERY|INCIDENT, or --name, or --filter: leave out web-1",
        ),
        (
            "silence a b --for 1h",
            "`envwatch silence` takes one NAME|QUERY, or --name, or --filter: leave out b",
        ),
        (
            "wait a --timeout 9 b:c",
            "`envwatch wait` takes b:c before the options, next to the other machines",
        ),
        (
            "silence list --for 2h",
            "`envwatch silence list` takes no --for; a machine called list needs --name list",
        ),
        ("list web-1 --filter web", "name the machines once: by NAME|QUERY and --name, or by --filter"),
    ],
)
def test_an_argument_in_a_wrong_place_or_number_is_named(envwatch: Envwatch, command: str, line: str) -> None:
    ended = envwatch(*command.split())
    assert (ended.code, ended.line.partition("; see `")[0]) == (2, line)


@pytest.mark.usefixtures("scripted")
def test_a_wait_takes_a_name_from_a_variable_next_to_a_query(envwatch: Envwatch) -> None:
    assert envwatch("wait", "--name", "db:1", "status:off", "--timeout", "9") == (0, "db:1\n", "")


@pytest.mark.usefixtures("scripted")
def test_a_silence_of_an_id_is_kept_as_an_id(envwatch: Envwatch) -> None:
    for machine, kept in (("e4", "id:e4"), ("web-1", "name:web-1"), ("e5 status:off", "id:e5 status:off")):
        assert envwatch("silence", machine, "--for", "1h", "--yes", "-o", "json").code == 0
        queries = [each["query"] for each in json.loads(envwatch("silence", "list", "-o", "json").out)]
        assert kept in queries


@pytest.mark.parametrize("query", ["web-1", "name:web-1"])
def test_without_an_answer_a_silence_is_kept_and_says_so(envwatch: Envwatch, scripted: Faulty, query: str) -> None:
    scripted.script = None
    envwatch.connect("http://127.0.0.1:9")
    code, _, err = envwatch("silence", query, "--for", "1h", "--yes")
    assert code == 0
    assert f"{query} matches an unknown number of machines: " in err
