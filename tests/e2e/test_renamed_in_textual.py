"""The dashboard on a Textual with one renamed private part, as after a release."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.demo_screen import assert_help_opens_and_q_ends
from support.pty_terminal import Terminal, environment
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.binding import BindingsMap
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen

from envwatch.tui.terminal import requirements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROGRAM: Final = Path(__file__).parents[1] / "support" / "renamed_in_textual.py"

DRAWING: Final = {name for _, name in requirements._DRAWING} | {"_display", "_timeout_time", "_xterm_parser", "last_x"}  # noqa: SLF001
BINDINGS: Final = {name for _, name in requirements._BINDINGS}  # noqa: SLF001

OPTIONAL: Final = {
    "_enable_mouse_support",
    "_enable_mouse_pixels",
    "_in_band_window_resize",
    "_disable_in_band_window_resize",
    "_fatal_error",
    "_print_error_renderables",
    "_queue",
}
"""Optional parts; the module of each part says what is missing without the part."""

OWN: Final = {"_size"}
"""Private names that envwatch's classes share with Textual."""

OFTEN: Final = "_run_input_thread"
"""Tested in every run."""


def names(found: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name == OFTEN else pytest.mark.slow) for name in sorted(found)]


def dashboard(name: str, home: Path) -> Terminal:
    command = [sys.executable, str(PROGRAM), name, "demo", "--no-history"]
    return Terminal(command, environment(home), columns=120, may_fork=False)


def test_the_installed_textual_lacks_nothing() -> None:
    assert (requirements.lacking_for_drawing(), requirements.lacking_for_bindings()) == ((), ())


@pytest.mark.parametrize("name", names(DRAWING))
def test_where_a_part_for_drawing_is_missing_textual_draws_and_a_line_says_what_to_do(
    name: str, tmp_path: Path
) -> None:
    with dashboard(name, tmp_path) as terminal:
        terminal.wait_for("● on ")
        terminal.wait_for(rf"Textual [\d.]+ lacks \S*\b{name}\b\S*: it draws by itself, .*pip install")
        assert_help_opens_and_q_ends(terminal)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_where_an_optional_part_is_missing_nothing_else_is(name: str, tmp_path: Path) -> None:
    with dashboard(name, tmp_path) as terminal:
        terminal.wait_for("● on ")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    assert b"lacks" not in terminal.received


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BINDINGS))
def test_where_a_part_for_bindings_is_missing_one_line_says_what_to_do(name: str, tmp_path: Path) -> None:
    with dashboard(name, tmp_path) as terminal:
        assert terminal.wait_for_end() == 1
    assert f"{name}: the dashboard needs that, other commands do not; pip install" in terminal.text.replace("\n", "")


def private_names(source: str) -> Iterator[str]:
    """Return the private names that a module reads, or defines on a subclass of a Textual base."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute | ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.attr if isinstance(node, ast.Attribute) else node.name
            if name.startswith("_") and not name.startswith("__"):
                yield name


def test_every_private_part_in_use_is_required_or_optional() -> None:
    folder = Path(requirements.__file__).parent
    used = {name for path in folder.glob("*.py") for name in private_names(path.read_text(encoding="utf-8"))}
    owners = (App, Screen, LinuxDriver, XTermParser, BindingsMap)
    of_textual = {name for name in used if any(requirements._has(owner, name) for owner in owners)}  # noqa: SLF001
    assert len(of_textual) > 15
    assert of_textual - DRAWING - BINDINGS - OPTIONAL - OWN == set()
