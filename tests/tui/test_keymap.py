"""Keys of the user's own: faults of the keymap, and answers to keys without an effect."""

from __future__ import annotations

import pytest
from support.app_harness import staged
from support.builders import beating

from envwatch.tui.app import GUESSED_KEYS
from envwatch.tui.keymap import binding_ids, command_mistakes, mistakes, view_mistakes
from envwatch.views.command_context import RowCommand
from envwatch.views.table.table_view import NamedView


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
def test_a_taken_key_names_its_owner(key: str, owner: str) -> None:
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
def test_a_key_no_terminal_sends_is_refused(key: str) -> None:
    assert mistake(key).startswith(f"cannot have {key} as a key")


# Keys of views.


def views(**keys: str) -> dict[str, NamedView]:
    return {name: NamedView(name=name, key=key) for name, key in keys.items()}


@pytest.mark.parametrize(("key", "owner"), [("n", "find.next_problem"), ("1", "find.all"), ("0", "find.reset")])
def test_a_view_whose_key_is_taken_names_the_other_action(key: str, owner: str) -> None:
    found = list(view_mistakes(views(gpu=key), {}))
    assert found == [("gpu", f"is the key of {owner} already: give the view another one")]


def test_two_views_or_a_view_and_a_command_cannot_have_one_key() -> None:
    assert list(view_mistakes(views(gpu="V", cpu="V"), {})) == [
        ("cpu", "is the key of view.gpu already: give the view another one")
    ]
    ssh = RowCommand(name="ssh", key="V", run=("x",), description="ssh")
    assert list(command_mistakes({"ssh": ssh}, {}, views(gpu="V"))) == [
        ("ssh", "is the key of view.gpu already: give the command another one")
    ]


def test_a_view_without_a_key_takes_none_and_a_wrong_key_is_named() -> None:
    assert list(view_mistakes(views(gpu=""), {})) == []
    ((name, text),) = view_mistakes(views(gpu="no key"), {})
    assert (name, text.startswith("cannot have no key as a key")) == ("gpu", True)


def test_the_table_of_keys_knows_views_by_their_ids() -> None:
    assert list(mistakes({"view.gpu": ("V",)}, views(gpu=""))) == []
    assert list(mistakes({"view.gpuu": ("V",)}, views(gpu=""))) == [
        ("view.gpuu", "is no binding; did you mean view.gpu?")
    ]
    assert list(mistakes({"view.gpu": ("n",)}, views(gpu="V"))) == [
        ("view.gpu", "has a key that find.next_problem has too: give that another one")
    ]
    assert list(mistakes({"find.next_problem": ("V",)}, views(gpu="V"))) == [
        ("find.next_problem", "has a key that view.gpu has too: give that another one")
    ]


def test_a_key_of_the_table_frees_the_key_of_the_view() -> None:
    keys = {"view.gpu": ("W",)}
    assert list(view_mistakes(views(gpu="n"), keys)) == []
    assert list(mistakes(keys, views(gpu="n"))) == []
    assert list(mistakes(keys, views(gpu="n", cpu="W"))) == [
        ("view.gpu", "has a key that view.cpu has too: give that another one")
    ]


# Keys without an effect.


async def test_a_key_without_an_effect_says_so_on_dashboard_and_help() -> None:
    async with staged() as stage:
        await stage.show(beating(3))
        for key in ("Z", "h", "right", "@"):
            await stage.press(key)
            assert stage.news == f"{key} does nothing here: ? shows the keys"
        await stage.press("question_mark", "Z")
        assert "Z does nothing here" in stage.lines[-1]


async def test_a_key_of_other_programs_names_the_key_with_the_effect() -> None:
    assert {id_ for id_, _ in GUESSED_KEYS.values()} <= set(binding_ids())
    async with staged() as stage:
        await stage.show(beating(3))
        for key, answer in (
            ("s", "s does nothing here: o sorts"),
            ("less_than_sign", "< does nothing here: o sorts"),
            ("f5", "f5 does nothing here: r refreshes"),
            ("tab", "tab does nothing here: ⏎ opens the detail"),
            ("ctrl+f", "ctrl+f does nothing here: pgdn goes a page down"),
        ):
            await stage.press(key)
            assert stage.news == answer
    async with staged(keymap={"sort.pick": "S"}) as stage:
        await stage.show(beating(3))
        await stage.press("s")
        assert stage.news == "s does nothing here: S sorts"
