"""Classifies the bytes from a program to its terminal, and runs the real program on a server of given rows.

A run over a harmless fleet gives the expected counts.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from typing import TYPE_CHECKING
from unicodedata import bidirectional, category

from support.faulty_server import unlimited
from support.own_keys import own_keys
from support.pty_terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.faulty_server import Faulty

_TOKEN = re.compile(
    r"\x1b\[(?P<private>[<-?]*)(?P<parameters>[0-9;:]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    r"|\x1b\](?P<command>[0-9]*);?(?P<payload>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b(?P<other>.?)"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])",
    re.DOTALL,
)
_MODE = re.compile(r"CSI \?[hl] (?!2026)[0-9;]+")
"""A change of mode; 2026 only marks frames."""
_LAYOUT = {"\r", "\n", "\b"}
_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_TITLE = re.compile(r"(?:[○!·◐≈●?x~w+-][0-9]* )+(?:default|demo)")
"""A title of counts and the profile alone."""
_PEN = re.compile(r"(?:[34]8;5;[0-9]+|[34]9|2?[123479]|0|)(?:;(?:[34]8;5;[0-9]+|[34]9|2[23479]|[123479]|0))*")
"""envwatch's SGR on a terminal of 256 colours: no blinking, no hiding, no named colours."""


def kinds_in(sent: bytes) -> Counter[str]:
    """Count sequences by kind, modes by number.

    Raises:
        UnicodeDecodeError: if the bytes are not UTF-8.
    """
    return Counter(filter(None, map(_kind, _TOKEN.finditer(sent.decode()))))


def _kind(token: re.Match[str]) -> str:
    if token["command"] == "2" and _TITLE.fullmatch(token["payload"]):
        return "OSC 2"
    if token["command"] is not None:
        return f"OSC {token['command']}" + ("" if token["command"] == "52" else f" {token['payload']}")
    if token["other"] is not None:
        return f"ESC {token['other']}"
    if token["control"]:
        return "" if token["control"] in _LAYOUT else f"control {token['control']!r}"
    parameters = token["parameters"]
    is_plain = token["final"] not in "hlpmt" and not token["private"]
    if is_plain or (token["final"] == "m" and not token["private"] and _PEN.fullmatch(parameters)):
        parameters = ""
    return f"CSI {token['private']}{token['between']}{token['final']} {parameters}".rstrip()


def foreign_characters(sent: bytes) -> set[str]:
    """Return characters that no terminal should get: invisible characters and bidirectional controls."""
    text = _TOKEN.sub("", sent.decode())
    return {c for c in set(text) if category(c) in {"Cf", "Cs", "Co", "Cn", "Zl", "Zp"} or bidirectional(c) in _BIDI}


def findings(sent: bytes, usual: bytes = b"", also: Sequence[str] = ()) -> set[str]:
    """Return all sequences that the program had no reason to send.

    Args:
        sent: bytes under test.
        usual: bytes of the same session with a harmless fleet, which limit the changes of each mode.
        also: kinds that may occur once more.
    """
    found, expected = kinds_in(sent), kinds_in(usual) + Counter(also)
    modes = {kind for kind in found if _MODE.fullmatch(kind) and found[kind] > expected[kind]}
    return (found.keys() - expected.keys()) | modes | {f"character {c!r}" for c in foreign_characters(sent)}


def clipboard(sent: bytes) -> list[str]:
    return [base64.b64decode(text).decode() for text in re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sent)]


def wait_for_clipboard(terminal: Terminal, before: int) -> None:
    terminal.wait_until(lambda: b"\x1b]52;" in terminal.received[before:], "the clipboard")


def quit_after(terminal: Terminal) -> bytes:
    terminal.press("q")
    assert terminal.wait_for_end() == 0, terminal.text
    return bytes(terminal.received)


def dashboard(server: Faulty, home: Path, columns: int, lines: int) -> Terminal:
    environ = unlimited(server) | own_keys(home)
    return Terminal.of_envwatch("--interval", "1", home=home, columns=columns, lines=lines, environ=environ)
