"""Text from elsewhere in Markdown that goes into a chat: it stays text wherever it is pasted.

Pure. GitHub, Slack and plain text read a code span, and none of them takes what is in it for markup. Chats that get the
raw text look for mentions and links in it all the same, so these are broken up. What is replaced stays readable; exact
names are in the JSON.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from envwatch.model.text import SafeText, composed, shortened
from envwatch.model.times import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_REPLACED: Final = str.maketrans({"`": "'", "<": "‹", ">": "›", "|": "¦"})
"""The end of a code span, what Slack's API reads as a mention or a link, and the cells of a table."""
_MENTION: Final = re.compile(r"(?<![0-9A-Za-z])@")
"""A sign that may begin a mention; in `user@host` it does not."""
_LINK: Final = re.compile(r"://")

_LONGEST: Final = 40
_LONGEST_TEXT: Final = 160


def code(text: SafeText, width: int = _LONGEST) -> str:
    """Return a name or a value as a code span, shortened to some cells, without anything that acts."""
    return _span(_LINK.sub("[:]//", shortened(_plain(text), width, keep="ends")))


def code_text(text: SafeText) -> str:
    """Return a sentence likewise, shortened at its end."""
    return _span(_LINK.sub("[:]//", shortened(_plain(text), _LONGEST_TEXT)))


def code_note(text: SafeText) -> str:
    """Return what a person on this machine has written likewise, with its links: they lead to a ticket."""
    return _span(_plain(text))


_OWN_REASON: Final = re.compile(r"[a-z ,]+(?: \([0-9]+ s\))?")


def reason_text(reason: SafeText | None) -> str:
    """Return the reason of a loss: words of our own, unless a recording of others has something else there."""
    if reason is None:
        return "reason not known"
    return reason if _OWN_REASON.fullmatch(reason) else code_text(reason)


def _plain(text: SafeText) -> SafeText:
    return composed(text.translate(_REPLACED))


def _span(text: str) -> str:
    return f"`{_MENTION.sub('(at)', text).strip() or NOTHING}`"  # cutting may have bared the sign of a mention


def listed(items: Sequence[str], most: int) -> str:
    """Return items with commas, the first ones if there are many: `a, b and 488 more`."""
    if len(items) <= most + 1:  # naming it takes no more space than counting it
        return joined(items)
    return f"{', '.join(items[:most])} and {len(items) - most:,} more"


def joined(items: Iterable[str]) -> str:
    """Return items as in a sentence: `a, b and c`."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last
