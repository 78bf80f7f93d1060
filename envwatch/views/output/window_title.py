"""The counts of the status line in a few cells: for the terminal's title, which names the profiles, and a status bar.

Pure. Must not know how a title is sent. A title has counts and names of profiles only, nothing that comes from the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import Presence
from envwatch.model.text import SafeText, composed
from envwatch.views.state_style import FLAPPING_GLYPHS, glyph_of

if TYPE_CHECKING:
    from envwatch.views.table.block import Block

_FIRST: Final = (Presence.MISSING, Presence.OFFLINE, Presence.GONE, Presence.LATE)
"""The presences that the title counts, the gravest first."""


def counts_text(block: Block, *, ascii_only: bool, flapping: int = 0, has_online: bool = False) -> SafeText:
    """Return the counts of the status line that are not zero: `○5 ◐2 ?3`, and `●40` if nothing else is counted.

    Args:
        block: the counts.
        ascii_only: whether the glyphs are ASCII.
        flapping: how many rows flap.
        has_online: whether the rows that are online are always counted.
    """
    counts = {glyph_of(presence, ascii_only=ascii_only): block.presences.get(presence, 0) for presence in _FIRST}
    counts[FLAPPING_GLYPHS[ascii_only]] = flapping
    shown = [f"{glyph}{count}" for glyph, count in counts.items() if count]
    online = block.presences.get(Presence.ONLINE, 0)
    unknown = [f"?{block.unknown}"] if block.unknown else []
    if has_online or not (online or block.presences.get(Presence.LATE, 0)) or not (shown or unknown):
        shown.append(f"{glyph_of(Presence.ONLINE, ascii_only=ascii_only)}{online}")
    return composed(" ".join(shown + unknown))


def window_title(block: Block, flapping: int, profiles: SafeText, mark: str = "", *, ascii_only: bool) -> SafeText:
    """Return a title with the counts of the status line: `○5 ◐2 acme`, `●40 acme`, or `? acme` if nothing is known.

    `mark` is the first word, where the title is not about the present.
    """
    is_known = any(block.presences.values()) or any(block.asides.values())
    counts = counts_text(block, ascii_only=ascii_only, flapping=flapping) if is_known else "?"
    return composed(" ".join(filter(None, (mark, counts, profiles))))
