"""Permission modes.

The set is open: an unknown name is shown as received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

UNRESTRICTED = clean("unrestricted")

_LEGACY: Mapping[str, SafeText] = {
    "default": clean("standard"),
    "bypassPermissions": UNRESTRICTED,
    "fullAccess": UNRESTRICTED,
}

_BY_FOLDED_NAME: Mapping[str, SafeText] = {name.casefold(): mode for name, mode in _LEGACY.items()}

_MEANING: Mapping[str, str] = {
    "standard": "normal approvals",
    "acceptEdits": "file edits auto-approved",
    "unrestricted": "all tools auto-approved",
    "strict": "everything needs approval",
}


KNOWN_MODES: Final = frozenset({*_LEGACY, *_MEANING})


def mode_of(raw: SafeText | None) -> SafeText | None:
    """Return a mode's current name; None before the first report."""
    return None if raw is None else _LEGACY.get(raw, raw)


def mode_from_query(typed: SafeText) -> SafeText:
    """Return the current name of a typed mode, in any case."""
    return _BY_FOLDED_NAME.get(typed.casefold(), typed)


def mode_meaning(raw: SafeText | None) -> str:
    """Return a mode's meaning in a few words."""
    mode = mode_of(raw)
    if mode is None:
        return "not reported yet"
    return _MEANING.get(mode, "not known to this version of envwatch")
