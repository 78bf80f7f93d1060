"""Makes a `SafeText` of uncleaned text, for tests of code that must survive such text."""

from __future__ import annotations

from envwatch.model.text import SafeText


def uncleaned(text: str) -> SafeText:
    return SafeText(text)
