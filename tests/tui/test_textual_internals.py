"""Textual's private parts are used in envwatch/tui/terminal only, and the installed Textual has each part."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Final

import pytest
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.binding import BindingsMap
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver
from textual.strip import Strip
from textual.widget import Widget

import envwatch
from envwatch.tui.terminal.app import TerminalApp
from envwatch.tui.terminal.driver import TerminalDriver

PACKAGE = Path(envwatch.__file__).parent
TERMINAL = PACKAGE / "tui" / "terminal"

OWNERS: Final = (App, BindingsMap, LinuxDriver, Strip, Widget, WriterThread, XTermParser)

SUPPRESSED = re.compile(r"noqa:?[^\n]*SLF001")
"""Ruff reports private members unless suppressed."""
UNSEEN_BY_RUFF = re.compile(r"(from|import) textual\S*\._|getattr\([^)\n]*, [\"']_")
"""Textual's private modules, and private attributes by name."""


def test_only_the_terminal_package_uses_private_parts_of_textual() -> None:
    outside = [path for path in PACKAGE.rglob("*.py") if TERMINAL not in path.parents]
    assert len(outside) > 50
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in outside
        for line in path.read_text(encoding="utf-8").splitlines()
        if SUPPRESSED.search(line) or UNSEEN_BY_RUFF.search(line)
    }
    assert found == set()


def attributes_of(owner: type) -> set[str]:
    """The attributes of a class, and the attributes that the methods of the class and of its bases set."""
    functions = (each for base in owner.__mro__ for each in vars(base).values() if inspect.isfunction(each))
    return {*dir(owner)}.union(*(function.__code__.co_names for function in functions))


def test_the_installed_textual_has_each_private_part_that_is_read() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in TERMINAL.glob("*.py"))
    own = {*re.findall(r"def (_\w+)", source), *re.findall(r"self\.(_\w+)(?=[^\n=(]*=[^=])", source)}
    read = {*re.findall(r"\.(_[a-z]\w*)", source)} - own
    assert {"_batch_count", "_keymap", "_timeout_time", "_writer_thread"} <= read
    needed = read - {"_compositor", "_xterm_parser"} | {"_file", "_must_signal_resume"}  # Textual reads the last two
    assert needed - set().union(*map(attributes_of, OWNERS)) == set()


@pytest.mark.parametrize(
    ("own", "base", "name"),
    [
        *((TerminalApp, App, name) for name in ("_display", "_fatal_error", "_handle_exception")),
        (TerminalApp, App, "_print_error_renderables"),
        *((TerminalDriver, LinuxDriver, name) for name in ("_run_input_thread", "_enable_mouse_support")),
        *((TerminalDriver, LinuxDriver, name) for name in ("_enable_mouse_pixels", "_disable_in_band_window_resize")),
    ],
)
def test_the_installed_textual_has_each_private_method_that_is_replaced(own: type, base: type, name: str) -> None:
    assert [*inspect.signature(vars(own)[name]).parameters] == [*inspect.signature(getattr(base, name)).parameters]
