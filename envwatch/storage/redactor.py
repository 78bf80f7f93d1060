"""The secrets of this process, and texts without them.

Owns what counts as a part of a secret, and what looks like a key that nobody should see. Every way out for texts takes
them through `redactor()`: standard error, the log, notices on the screen, reports of crashes. What a server says of a
failure goes the same way before it becomes a message.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Final

from envwatch.model.text import Clean, clean

KEY: Final = "LETTA_API_KEY"
"""The variable that Letta's SDK and CLI read too; the CLI's settings use the name as well."""

FRAGMENT: Final = 8
"""So many characters of a secret in a row are not told either."""

LIKE_A_KEY: Final = re.compile(r"sk-[\w-]+|(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{20,}")
"""What may be a key where an argument is wrong: it begins as keys do, or is letters with digits without anything
between them, more than a date has."""

_SURELY_A_KEY: Final = re.compile(r"(?<![A-Za-z0-9])sk-[\w-]{16,}")
"""A key wherever it stands, though this process does not know it: Letta's begin with `sk-let-`."""

_HIDDEN: Final = "…"


class Redactor:
    """Knows secrets, and takes them out of texts, in whole and in parts; what surely is a key goes too.

    Args:
        secrets: see `learn`.
    """

    def __init__(self, *secrets: str) -> None:
        self._fragments: set[str] = set()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Take note of a secret; one that is shorter than `FRAGMENT` is none."""
        for spelling in {secret, ascii(secret)[1:-1]}:
            self._fragments.update(spelling[at : at + FRAGMENT] for at in range(len(spelling) - FRAGMENT + 1))

    def __call__(self, text: str) -> str:
        """Return a text without any part of a secret."""
        text = _SURELY_A_KEY.sub(_HIDDEN, text)
        if not self._fragments:
            return text
        pieces: list[str] = []
        kept_to = hidden_to = 0
        for at in range(len(text) - FRAGMENT + 1):
            if text[at : at + FRAGMENT] in self._fragments:
                if at > hidden_to or not at:
                    pieces += text[kept_to:at], _HIDDEN
                kept_to = hidden_to = at + FRAGMENT
        return "".join([*pieces, text[kept_to:]])

    def lines(self, text: str) -> list[Clean]:
        """Return a text's lines, clean and without any part of a secret."""
        # Twice: cleaning writes some characters in another way, which may be the secret's own.
        return [Clean(self(clean(line))) for line in self(text).splitlines()]


@cache
def redactor() -> Redactor:
    """Return the one that knows this process's secrets."""
    return Redactor(os.environ.get(KEY, "").strip())  # even if it cannot be used
