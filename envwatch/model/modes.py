"""The permission modes of an environment: their names over time and what they let an agent do.

The set is open: a name that nobody told us of is shown as it came, and means nothing more than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.model.text import Clean

if TYPE_CHECKING:
    from collections.abc import Mapping

UNRESTRICTED = Clean("unrestricted")

_LEGACY: Mapping[str, Clean] = {
    "default": Clean("standard"),
    "bypassPermissions": UNRESTRICTED,
    "fullAccess": UNRESTRICTED,
}
"""Names that older listeners send."""

_BY_FOLDED_NAME: Mapping[str, Clean] = {name.casefold(): mode for name, mode in _LEGACY.items()}

_MEANING: Mapping[str, str] = {
    "standard": "normal approvals",
    "acceptEdits": "file edits auto-approved",
    "unrestricted": "all tools auto-approved",
    "strict": "everything needs approval",
}


def mode_of(sent: Clean | None) -> Clean | None:
    """Return the mode under its current name; None as long as the listener has not told it."""
    return None if sent is None else _LEGACY.get(sent, sent)


def mode_from_query(typed: Clean) -> Clean:
    """Return the current name of a mode that a person asks for under any of its names, in capitals or not."""
    return _BY_FOLDED_NAME.get(typed.casefold(), typed)


def mode_meaning(sent: Clean | None) -> str:
    """Return what the mode lets an agent do, in a few words."""
    mode = mode_of(sent)
    if mode is None:
        return "not reported yet"
    return _MEANING.get(mode, "not known to this version of envwatch")
