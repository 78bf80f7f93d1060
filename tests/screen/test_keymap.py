"""Keys of the user's own: faults of the keymap, and answers to keys without an effect."""

from __future__ import annotations

import pytest
from support.app_harness import staged
from support.builders import beating
from support.rewinding import BACK, EVENT_BACK, lived, press

from envwatch.screen.app import GUESSED_KEYS, MOVED_KEYS
from envwatch.screen.keymap import binding_ids, command_mistakes, mistakes, view_mistakes
from envwatch.views.command_context import RowCommand
from envwatch.views.table.table_view import NamedView

FREE = ("S", "f5", "ctrl+x", "v", "alt+s", "comma", "dollar_sign")
OWNERS = {
    "n": "find.next_loss",
    "/": "find.filter",
    "slash": "find.filter",
    "question_mark": "app.help",
    "ctrl+c": "app.interrupt",
    "down": "move.down",
    "1": "find.all",
    "0": "find.reset",
}


def commands(**keys: str) -> dict[str, RowCommand]:
    return {name: RowCommand(name=name, key=key, run=("x",), description=name) for name, key in keys.items()}


def views(**keys: str) -> dict[str, NamedView]:
    return {name: NamedView(name=name, key=key) for name, key in keys.items()}


def is_taken(owner: str, by: str) -> str:
    return f"is the key of {owner} already: give the {by} another one"


@pytest.mark.parametrize("key", FREE)
def test_a_free_key_is_accepted(key: str) -> None:
    assert list(command_mistakes(commands(ssh=key), {})) == []
    assert list(view_mistakes(views(gpu=key), {})) == []


@pytest.mark.parametrize(("key", "owner"), OWNERS.items())
def test_a_taken_key_names_its_owner(key: str, owner: str) -> None:
    assert list(command_mistakes(commands(ssh=key), {})) == [("ssh", is_taken(owner, "command"))]
    assert list(view_mistakes(views(gpu=key), {})) == [("gpu", is_taken(owner, "view"))]


@pytest.mark.parametrize("key", ["no key", "hyper+", "qq"])
def test_a_key_no_terminal_sends_is_refused(key: str) -> None:
    ((_, of_command),) = command_mistakes(commands(ssh=key), {})
    ((_, of_view),) = view_mistakes(views(gpu=key), {})
    assert of_command.startswith(f"cannot have {key} as a key")
    assert of_view.startswith(f"cannot have {key} as a key")


def test_two_commands_or_views_cannot_have_one_key_and_no_key_is_no_mistake() -> None:
    assert list(command_mistakes(commands(one="S", two="S"), {})) == [("two", is_taken("commands.one", "command"))]
    assert list(view_mistakes(views(gpu="V", cpu="V"), {})) == [("cpu", is_taken("view.gpu", "view"))]
    assert list(command_mistakes(commands(ssh="V"), {}, views(gpu="V"))) == [("ssh", is_taken("view.gpu", "command"))]
    assert list(view_mistakes(views(gpu=""), {})) == []


def test_the_users_own_keys_count_and_free_the_defaults() -> None:
    own = {"machine.explain": ("S",)}
    assert list(command_mistakes(commands(ssh="S"), own)) == [("ssh", is_taken("machine.explain", "command"))]
    assert list(command_mistakes(commands(ssh="E"), own)) == []
    assert list(view_mistakes(views(gpu="n"), {"view.gpu": ("W",)})) == []


@pytest.mark.parametrize(
    ("keys", "of_views", "found"),
    [
        ({"view.gpu": ("V",)}, {"gpu": ""}, []),
        ({"view.gpuu": ("V",)}, {"gpu": ""}, [("view.gpuu", "is no binding; did you mean view.gpu?")]),
        ({"view.gpu": ("n",)}, {"gpu": "V"}, [("view.gpu", "find.next_loss")]),
        ({"find.next_loss": ("V",)}, {"gpu": "V"}, [("find.next_loss", "view.gpu")]),
        ({"view.gpu": ("W",)}, {"gpu": "n"}, []),
        ({"view.gpu": ("W",)}, {"gpu": "n", "cpu": "W"}, [("view.gpu", "view.cpu")]),
    ],
)
def test_the_table_of_keys_knows_views_by_their_ids(
    keys: dict[str, tuple[str, ...]], of_views: dict[str, str], found: list[tuple[str, str]]
) -> None:
    texts = [
        (name, text if " " in text else f"has a key that {text} has too: give that another one") for name, text in found
    ]
    assert list(mistakes(keys, views(**of_views))) == texts


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
    assert {id_ for id_, _ in (GUESSED_KEYS | MOVED_KEYS).values()} <= set(binding_ids())
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


MOVED: dict[str, str] = {
    "m": "m does nothing here: :baseline marks it, [keys] binds baseline.mark",
    "equals_sign": "= does nothing here: :compare compares, [keys] binds baseline.compare",
    "c": "c does nothing here: y n copies the name, [keys] binds machine.copy_name",
    "5": "5 does nothing here: /flapping:yes finds what flaps",
    "6": "6 does nothing here: 4 shows what changed",
    "left_square_bracket": "[ does nothing here: it steps through the past, { goes there",
    "right_square_bracket": "] does nothing here: it steps through the past, { goes there",
}


async def test_a_key_without_its_command_says_once_where_the_command_went() -> None:
    assert MOVED.keys() == MOVED_KEYS.keys()
    async with staged(keymap={}) as stage:
        await stage.show(beating(3))
        for key, answer in MOVED.items():
            await stage.press(key)
            assert stage.news == answer
            assert len(answer) < 80
        for key in MOVED:
            await stage.press(key)
            assert stage.news.endswith("does nothing here: ? shows the keys"), key


async def test_square_brackets_step_only_while_the_screen_shows_the_past() -> None:
    async with lived(keymap={}) as stage:
        await press(stage, BACK)
        assert stage.app.state.rewound is None
        await press(stage, EVENT_BACK)
        assert "[ Back ] On" in " ".join(stage.lines[-1].split())
        before = stage.app.state.now
        await press(stage, BACK)
        assert stage.app.state.now.wall < before.wall
        await press(stage, "L")
        assert stage.app.state.rewound is None
        await press(stage, BACK)
        assert stage.app.state.rewound is None
    assert list(view_mistakes(views(gpu="["), {})) == [("gpu", is_taken("history.back", "view"))]
