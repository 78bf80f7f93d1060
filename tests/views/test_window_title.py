"""The terminal's title: problems first."""

from __future__ import annotations

import pytest

from envwatch.fleet.counts import Counts
from envwatch.fleet.presence import Presence
from envwatch.model.text import clean
from envwatch.views.window_title import window_title

ON, LATE, OFF, GONE, MISSING = Presence.ONLINE, Presence.LATE, Presence.OFFLINE, Presence.GONE, Presence.MISSING


@pytest.mark.parametrize(
    ("counts", "unicode", "ascii_text"),
    [
        (Counts(presences={ON: 40, LATE: 2, OFF: 5}, alerting={OFF: 5, LATE: 2}), "○5 ◐2 acme", "x5 ~2 acme"),
        (Counts(presences={ON: 40, OFF: 7}), "●40 acme", "+40 acme"),
        (Counts(presences={ON: 40, OFF: 7}, alerting={OFF: 1}), "○1 acme", "x1 acme"),
        (Counts(presences={ON: 40, OFF: 7}, alerting={}), "●40 acme", "+40 acme"),
        (Counts(presences={ON: 9, LATE: 1}, alerting={LATE: 1, GONE: 3, MISSING: 1}), "!1 ·3 ◐1 acme", "!1 -3 ~1 acme"),
        (Counts(presences={ON: 9}, alerting={ON: 2}), "≈2 acme", "w2 acme"),
        (Counts(presences={ON: 40}, unknown=3), "?3 acme", "?3 acme"),
        (Counts(presences={OFF: 5}, alerting={OFF: 5}), "○5 ●0 acme", "x5 +0 acme"),
        (Counts(presences={GONE: 5}, alerting={GONE: 5}), "·5 ●0 acme", "-5 +0 acme"),
        (Counts(unknown=57), "? acme", "? acme"),
        (Counts(), "? acme", "? acme"),
    ],
)
def test_the_title_has_what_alerts_first(counts: Counts, unicode: str, ascii_text: str) -> None:
    assert window_title(counts, clean("acme"), ascii_only=False) == unicode
    assert window_title(counts, clean("acme"), ascii_only=True) == ascii_text
