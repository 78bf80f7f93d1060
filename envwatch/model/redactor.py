"""Secrets, and the removal of secrets from text.

All text for standard error, log, notices and crash reports passes `redactor()`, also the server's messages.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Final

from envwatch.model.text import SafeText, clean, composed

KEY: Final = "LETTA_API_KEY"
"""The variable of Letta's SDK and CLI."""

FRAGMENT: Final = 8
"""Consecutive characters that count as the secret."""

LIKE_A_KEY: Final = re.compile(r"sk-[\w-]+|(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{20,}")
"""Arguments that may be keys: `sk-…`, or 20 or more letters and digits."""

_KEY_ANYWHERE: Final = re.compile(r"(?<![A-Za-z0-9])sk-[\w-]{16,}")
"""Keys in any text; Letta's begin with `sk-let-`."""

_HIDDEN: Final = "…"


class ReportedError(Exception):
    """A mistake that people can correct; the message is the command's last line."""


class Secret:
    """A text hidden by `repr` and `str`; pydantic's `SecretStr` would cost 30 ms of every start."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Secret({_HIDDEN})"

    def get_secret_value(self) -> str:
        """Return the text."""
        return self._text


class Redactor:
    """Replaces secrets, parts of secrets and likely Letta keys by `…`."""

    def __init__(self, *secrets: str) -> None:
        self._fragments: set[str] = set()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Add a secret; secrets shorter than `FRAGMENT` are ignored."""
        for spelling in {secret, ascii(secret)[1:-1]}:
            self._fragments.update(spelling[i : i + FRAGMENT] for i in range(len(spelling) - FRAGMENT + 1))

    def __call__(self, text: str) -> str:
        """Return the redacted text."""
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
        """Return a text's lines, cleaned and redacted."""
        # Cleaning changes some characters, and may produce the secret: redact twice.
        return [composed(self(clean(line))) for line in self(text).splitlines()]


@cache
def redactor() -> Redactor:
    """Return this process's redactor, which knows `KEY`'s value, even if invalid."""
    return Redactor(os.environ.get(KEY, "").strip())
