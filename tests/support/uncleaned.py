"""Text that no function cleaned, for tests of what must hold even then."""

from __future__ import annotations

from envwatch.model.text import SafeText


def uncleaned(text: str) -> SafeText:
    """Return any text as if it were clean."""
    return SafeText(text)
