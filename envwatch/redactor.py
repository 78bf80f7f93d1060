"""Removes secrets from text.

Owns what counts as a part of a secret, and what looks like an API key. All text goes through `redactor()` before it
reaches standard error, the log, a notice on the screen or a crash report; so does a server's own error message.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Final

from envwatch.model.text import SafeText, clean, composed

KEY: Final = "LETTA_API_KEY"
"""The variable that Letta's SDK and CLI read too; the CLI's settings use the name as well."""

FRAGMENT: Final = 8
"""This many characters of a secret in a row count as the secret."""

LIKE_A_KEY: Final = re.compile(r"sk-[\w-]+|(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{20,}")
"""What may be a key in place of an argument: it begins like one, or is a long run of letters with digits."""

_KEY_ANYWHERE: Final = re.compile(r"(?<![A-Za-z0-9])sk-[\w-]{16,}")
"""What is a key in any text, even one that this process does not use: Letta's begin with `sk-let-`."""

_HIDDEN: Final = "…"


class Redactor:
    """Replaces secrets, parts of them, and everything that looks like a Letta key by `…`.

    Args:
        secrets: see `learn`.
    """

    def __init__(self, *secrets: str) -> None:
        self._fragments: set[str] = set()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Add a secret; one shorter than `FRAGMENT` is ignored."""
        for spelling in {secret, ascii(secret)[1:-1]}:
            self._fragments.update(spelling[i : i + FRAGMENT] for i in range(len(spelling) - FRAGMENT + 1))

    def __call__(self, text: str) -> str:
        """Return a text without any part of a secret."""
        text = _KEY_ANYWHERE.sub(_HIDDEN, text)
        if not self._fragments:
            return text
        pieces: list[str] = []
        end = 0
        for start in range(len(text) - FRAGMENT + 1):
            if text[start : start + FRAGMENT] in self._fragments:
                if start > end or not start:
                    pieces += text[end:start], _HIDDEN
                end = start + FRAGMENT
        return "".join([*pieces, text[end:]])

    def lines(self, text: str) -> list[SafeText]:
        """Return a text's lines, clean and without any part of a secret."""
        # Twice: cleaning changes the spelling of some characters, and may produce the secret's own.
        return [composed(self(clean(line))) for line in self(text).splitlines()]


@cache
def redactor() -> Redactor:
    """Return this process's redactor, which knows the key in the environment, usable or not."""
    return Redactor(os.environ.get(KEY, "").strip())
