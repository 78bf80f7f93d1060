"""Faults in the keys of user-defined commands."""

from __future__ import annotations

import pytest

from envwatch.tui.keymap import command_mistakes
from envwatch.views.output.command_context import RowCommand


def mistake(key: str, **keys: tuple[str, ...]) -> str:
    command = RowCommand(name="ssh", key=key, run=("ssh",), description="ssh")
    return " ".join(text for _, text in command_mistakes({"ssh": command}, keys))


@pytest.mark.parametrize("key", ["S", "f5", "ctrl+x", "v", "alt+s", "comma", "dollar_sign"])
def test_a_free_key_is_accepted(key: str) -> None:
    assert mistake(key) == ""


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("n", "find.next_problem"),
        ("/", "find.filter"),
        ("slash", "find.filter"),
        ("question_mark", "app.help"),
        ("ctrl+c", "app.interrupt"),
        ("down", "move.down"),
        ("1", "find.all"),
    ],
)
def test_a_key_that_is_taken_names_its_owner(key: str, owner: str) -> None:
    assert mistake(key) == f"is the key of {owner} already: give the command another one"


def test_the_users_own_keys_count_and_free_the_defaults() -> None:
    own = {"row.explain": ("S",)}
    assert "row.explain" in mistake("S", **own)
    assert mistake("E", **own) == ""


def test_two_commands_cannot_have_one_key() -> None:
    commands = {name: RowCommand(name=name, key="S", run=("x",), description=name) for name in ("one", "two")}
    assert list(command_mistakes(commands, {})) == [
        ("two", "is the key of commands.one already: give the command another one")
    ]


@pytest.mark.parametrize("key", ["no key", "hyper+", "qq"])
def test_what_no_terminal_sends_is_no_key(key: str) -> None:
    assert mistake(key).startswith(f"cannot have {key} as a key")
