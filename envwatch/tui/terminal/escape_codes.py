"""Escape sequences for the clipboard, a desktop notification and the title. Terminals answer none of them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.model.text import SafeText

SAVE_TITLE, RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"
"""Push the terminal's title on its stack, and take it back from there (XTWINOPS); others ignore both."""

LONGEST = 74_994
"""Bytes of text: 100,000 of Base64, the limit of xterm and tmux."""


def clipboard_sequence(text: str, *, in_tmux: bool) -> str:
    r"""Return the escape sequence that puts a text on the terminal's clipboard.

    Args:
        text: cut at `LONGEST` bytes, never within a character.
        in_tmux: send it to tmux and, through it, to the outer terminal: tmux's settings decide which one accepts it.
    """
    data = text.encode()[:LONGEST].decode(errors="ignore").encode()
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    return sequence + _pass_through(sequence) if in_tmux else sequence


def notification_sequence(text: SafeText, style: Literal["osc9", "osc777"], *, in_tmux: bool) -> str:
    """Return the escape sequence that shows a desktop notification.

    Args:
        text: its text; semicolons, which would end it, become commas.
        style: `osc9` is iTerm2's, `osc777` is urxvt's; other terminals support one or both.
        in_tmux: send it through tmux, which has no notifications of its own.
    """
    body = text.replace(";", ",")
    # ConEmu's own commands by OSC 9 begin with a number, so the name in front keeps a text from being one.
    sequence = f"\x1b]9;envwatch: {body}\x07" if style == "osc9" else f"\x1b]777;notify;envwatch;{body}\x07"
    return _pass_through(sequence) if in_tmux else sequence


def title_sequence(text: SafeText) -> str:
    """Return the escape sequence that sets the terminal's title."""
    return f"\x1b]2;{clean(text)}\x07"


def _pass_through(sequence: str) -> str:
    """Return what makes tmux pass a sequence to the outer terminal, if its `allow-passthrough` is on."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
