"""The terminal's title: problems first."""

from __future__ import annotations

import pytest

from envwatch.fleet.presence import Presence
from envwatch.model.text import clean
from envwatch.views.table.block import Aside, Block
from envwatch.views.table.block_text import window_title

ON, LATE, OFF, GONE, MISSING = Presence.ONLINE, Presence.LATE, Presence.OFFLINE, Presence.GONE, Presence.MISSING


@pytest.mark.parametrize(
    ("block", "flapping", "unicode", "ascii_text"),
    [
        (Block(presences={ON: 40, LATE: 2, OFF: 5}), 0, "○5 ◐2 acme", "x5 ~2 acme"),
        (Block(presences={ON: 40}, asides={Aside.OLD: 7}), 0, "●40 acme", "+40 acme"),
        (Block(presences={ON: 40, OFF: 1}, asides={Aside.OLD: 6}), 0, "○1 acme", "x1 acme"),
        (Block(presences={ON: 9, LATE: 1, GONE: 3, MISSING: 1}), 0, "!1 ·3 ◐1 acme", "!1 -3 ~1 acme"),
        (Block(presences={ON: 9}), 2, "≈2 acme", "w2 acme"),
        (Block(presences={ON: 40}, unknown=3), 0, "?3 acme", "?3 acme"),
        (Block(presences={OFF: 5}), 0, "○5 ●0 acme", "x5 +0 acme"),
        (Block(presences={GONE: 5}), 0, "·5 ●0 acme", "-5 +0 acme"),
        (Block(asides={Aside.OLD: 5}), 0, "●0 acme", "+0 acme"),
        (Block(unknown=57), 0, "? acme", "? acme"),
        (Block(), 0, "? acme", "? acme"),
    ],
)
def test_the_title_has_the_counts_of_the_status_line(
    block: Block, flapping: int, unicode: str, ascii_text: str
) -> None:
    assert window_title(block, flapping, clean("acme"), ascii_only=False) == unicode
    assert window_title(block, flapping, clean("acme"), ascii_only=True) == ascii_text
