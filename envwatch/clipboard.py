"""Text on its way to the clipboard of whoever sits at the terminal, by OSC 52.

Pure. Nothing answers such a sequence, so all that can be said afterwards is "sent".
"""

from __future__ import annotations

import base64

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
    if not in_tmux:
        return sequence
    return sequence + "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
