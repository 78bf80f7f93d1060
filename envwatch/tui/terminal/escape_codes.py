"""What a terminal is asked for beyond drawing, by OSC sequences: its clipboard, and a notification on its desktop.

Pure. Nothing answers such a sequence, so all that can be said afterwards is "sent".
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from envwatch.model.text import Clean

LONGEST = 74_994
"""Bytes of text: 100,000 of Base64, which is where xterm and tmux stop."""


def clipboard_sequence(text: str, *, in_tmux: bool) -> str:
    r"""Return the escape sequence that asks a terminal to take a text.

    Args:
        text: cut at `LONGEST` bytes, never within a character.
        in_tmux: whether tmux stands between. It is asked itself, and told to pass the request on to the terminal
            outside as well: which of the two it heeds depends on its settings.
    """
    data = text.encode()[:LONGEST].decode(errors="ignore").encode()
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    return sequence + _passed_on(sequence) if in_tmux else sequence


def notification_sequence(text: Clean, style: Literal["osc9", "osc777"], *, in_tmux: bool) -> str:
    """Return the escape sequence that asks a terminal for a notification on its desktop.

    Args:
        text: what it says; a semicolon would end it early and becomes a comma.
        style: `osc9` is iTerm2's, `osc777` is urxvt's; other terminals took over one of them or both.
        in_tmux: whether tmux stands between, which knows no notifications and can only pass them on.
    """
    told = text.replace(";", ",")
    # ConEmu's own commands by OSC 9 begin with a number, so the name in front keeps a text from being one.
    sequence = f"\x1b]9;envwatch: {told}\x07" if style == "osc9" else f"\x1b]777;notify;envwatch;{told}\x07"
    return _passed_on(sequence) if in_tmux else sequence


def _passed_on(sequence: str) -> str:
    """Return what makes tmux hand a sequence to the terminal outside, where its `allow-passthrough` is on."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
