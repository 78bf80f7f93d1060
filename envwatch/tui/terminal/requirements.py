"""Whether the installed Textual has the private parts by which envwatch takes the terminal, reads keys and draws.

A newer Textual may have renamed some. Then `TerminalApp` leaves the terminal to Textual's own driver and drawing: that
sends more bytes, and a terminal that is killed or closed is not always restored. Nothing stands in for the parts by
which bindings are read and added; without them the dashboard is not begun. What is optional to envwatch, such as taking
the mouse back, is not listed here; the modules that use such a part say what is missing without it.
"""

from __future__ import annotations

import re
from inspect import signature
from typing import TYPE_CHECKING, Final

from textual.app import App
from textual.binding import BindingsMap
from textual.dom import DOMNode
from textual.drivers.linux_driver import LinuxDriver

from envwatch.model.text import SafeText, composed
from envwatch.tui.terminal.input_bytes import PARSER_STATE

if TYPE_CHECKING:
    from collections.abc import Iterable

_DRAWING: Final = (
    *((LinuxDriver, name) for name in ("_file", "_writer_thread", "_run_input_thread", "_disable_mouse_support")),
    *((LinuxDriver, name) for name in ("_mouse", "_app", "_loop", "_auto_restart", "_must_signal_resume")),
    *((App, name) for name in ("_driver", "_batch_count", "_closed", "_running", "_sync_available")),
    *((App, name) for name in ("_exit", "_handle_exception", "_close_messages_no_wait", "_exit_renderables")),
    (App, "_suspend_signal"),
)
_BINDINGS: Final = (
    (DOMNode, "_bindings"),
    (DOMNode, "_merged_bindings"),
    (BindingsMap, "_add_binding"),
    (App, "_keymap"),
)
_DISPLAY: Final = ["self", "screen", "renderable"]
"""The parameters of `App._display`."""


def lacking_for_drawing() -> tuple[str, ...]:
    """Return the parts that are missing to take the terminal and draw; without them Textual does both."""
    lacking = [*_lacking(_DRAWING)]
    if list(signature(getattr(App, "_display", lambda: None)).parameters) != _DISPLAY:
        lacking.append("App._display")
    return (*lacking, *_lacking_in_parser())


def lacking_for_bindings() -> tuple[str, ...]:
    """Return the parts that are missing to read and add bindings; without them there is no dashboard."""
    return tuple(_lacking(_BINDINGS))


def advice(lacking: Iterable[str], consequence: str) -> SafeText:
    """Return in one line what is missing, what follows from that (a sentence without its end), and what to do."""
    from importlib.metadata import version  # noqa: PLC0415  it is slow, and seldom needed

    tested = _tested()
    fix = f"pip install 'textual=={tested}'" if tested else "install an older one"
    return composed(f"Textual {version('textual')} lacks {', '.join(lacking)}: {consequence}; {fix} mends it")


def _lacking(parts: Iterable[tuple[type, str]]) -> Iterable[str]:
    return (f"{owner.__name__}.{name}" for owner, name in parts if not _has(owner, name))


def _has(owner: type, name: str) -> bool:
    """Whether a class has an attribute, or an `__init__` of its own or of a base mentions one of this name."""
    codes = (getattr(vars(base).get("__init__"), "__code__", None) for base in owner.__mro__)
    return hasattr(owner, name) or any(code is not None and name in code.co_names for code in codes)


def _lacking_in_parser() -> Iterable[str]:
    try:
        from textual._xterm_parser import XTermParser  # noqa: PLC0415  it may not be there
    except ImportError:
        return ["textual._xterm_parser.XTermParser"]
    return _lacking((XTermParser, name) for name in ("_timeout_time", *PARSER_STATE))


def _tested() -> str:
    """Return the lowest version of Textual that this package asks for; empty if it is not installed as one."""
    from importlib.metadata import PackageNotFoundError, requires  # noqa: PLC0415

    try:
        needed = requires("envwatch") or ()
    except PackageNotFoundError:
        return ""
    found = re.findall(r"^textual\b.*>=([\w.]+)", "\n".join(needed), re.MULTILINE)
    return found[0] if found else ""
