"""The text of the terminal's title: what alerts, then whose fleet it is.

Pure. Must not know how a title is sent. It has counts and names of profiles only, nothing that comes from the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import Presence
from envwatch.model.text import SafeText, composed
from envwatch.views.state_style import FLAPPING_GLYPHS, glyph_of

if TYPE_CHECKING:
    from envwatch.fleet.counts import Counts

_ALERTING: Final = (Presence.OFFLINE, Presence.MISSING, Presence.GONE, Presence.LATE)
"""The presences of problems, the gravest first."""


def window_title(counts: Counts, profiles: SafeText, mark: str = "", *, ascii_only: bool) -> SafeText:
    """Return a title: `○5 ◐2 acme` if so many alert, `●40 acme` if none does, `? acme` while nothing is known.

    `mark` stands before all, where that is not the present.
    """
    alerts = {glyph_of(presence, ascii_only=ascii_only): counts.alerting.get(presence, 0) for presence in _ALERTING}
    alerts[FLAPPING_GLYPHS[ascii_only]] = counts.alerting.get(Presence.ONLINE, 0)
    shown = [f"{glyph}{count}" for glyph, count in (alerts | {"?": counts.unknown}).items() if count]
    online = glyph_of(Presence.ONLINE, ascii_only=ascii_only)
    if not counts.presences:
        shown = ["?"]
    elif not shown or not counts.with_presence(Presence.ONLINE) + counts.with_presence(Presence.LATE):
        shown.append(f"{online}{counts.with_presence(Presence.ONLINE)}")
    return composed(" ".join([*([mark] if mark else []), *shown, profiles]))
