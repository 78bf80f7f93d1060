"""The permission modes of an environment: their names over time and what they let an agent do.

The set is open: an unknown name is shown as it was received, without a meaning.
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
"""Names in use by older listeners."""

_BY_FOLDED_NAME: Mapping[str, SafeText] = {name.casefold(): mode for name, mode in _LEGACY.items()}

_MEANING: Mapping[str, str] = {
    "standard": "normal approvals",
    "acceptEdits": "file edits auto-approved",
    "unrestricted": "all tools auto-approved",
    "strict": "everything needs approval",
}


KNOWN_MODES: Final = frozenset({*_LEGACY, *_MEANING})
"""Letta's modes, under each of their names."""


def mode_of(raw: SafeText | None) -> SafeText | None:
    """Return the mode under its current name; None until the listener has reported one."""
    return None if raw is None else _LEGACY.get(raw, raw)


def mode_from_query(typed: SafeText) -> SafeText:
    """Return the current name of a mode that is typed under any of its names, in any case."""
    return _BY_FOLDED_NAME.get(typed.casefold(), typed)


def mode_meaning(raw: SafeText | None) -> str:
    """Return what the mode lets an agent do, in a few words."""
    mode = mode_of(raw)
    if mode is None:
        return "not reported yet"
    return _MEANING.get(mode, "not known to this version of envwatch")
