"""What tests share of a stylesheet: each node gets the styles that Textual would have given it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged
from support.budget import first_quick
from support.builders import beating, environment
from support.stylesheets import FLAGS, apply_alone
from textual.css.stylesheet import Stylesheet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.app_harness import Stage
    from textual.dom import DOMNode

SCREENS: list[tuple[str, ...]] = [
    ("enter",),
    ("slash", "x"),
    ("e", "slash"),
    ("question_mark",),
    ("colon", "t"),
    ("C", "j"),
    ("E",),
]
"""Keys that bring up each kind of screen, or of layer."""


def styles_of(node: DOMNode) -> dict[str, Any]:
    """Return the rules of a node and of its component classes, and what else its stylesheet sets of it."""
    components = {name: styles.get_rules() for name, styles in vars(node)["_component_styles"].items()}
    flags = {flag: vars(node).get(flag) for flag in FLAGS}
    return {"rules": dict(node.styles.base.get_rules()), "components": components, "flags": flags}


def nodes_of(stage: Stage) -> Iterator[DOMNode]:
    for screen in stage.app.screen_stack:
        yield from screen.walk_children(with_self=True)


async def compare(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the styles of all nodes with those that Textual alone gives them now."""
    for node in nodes_of(stage):
        stage.app.stylesheet.apply(node)
        shared = styles_of(node)
        with monkeypatch.context() as patch:
            patch.setattr(Stylesheet, "apply", apply_alone)
            stage.app.stylesheet.apply(node)
        assert styles_of(node) == shared, node


CASES = [("envwatch-dark", "", (140, 45)), ("envwatch-dark", "1", (80, 24)), ("envwatch-ansi", "", (80, 24))]


@pytest.mark.parametrize("case", first_quick(CASES), ids=str)
async def test_shared_styles_are_those_of_textual(
    case: tuple[str, str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    theme, no_color, size = case
    monkeypatch.setenv("NO_COLOR", no_color)
    async with staged(size, theme=theme) as stage:
        await stage.show([*beating(3, stage.at), environment("lost", connectionId=None, lastHeartbeat=None)])
        await compare(stage, monkeypatch)
        for keys in SCREENS:
            await stage.press(*keys)
            await compare(stage, monkeypatch)
            await stage.press("escape", "escape")
