r"""Proves that cleaning would keep every character of a JSON document, without parsing it.

That takes a tenth of a millisecond for a page of the listing, a test of each text several times as long. What cannot be
proven may be clean all the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from envwatch.model.text import clean

_ESCAPE: Final = re.compile(rb"\\(.)")
_UNPRINTABLE: Final = frozenset([b"u", b"b", b"f", b"n", b"r", b"t"])
"""What follows the backslash in an escape of something that may be unprintable."""
_ASCII: Final = bytes(range(128))


def is_plain_json(data: bytes) -> bool:
    r"""Whether `clean` surely keeps every character of the strings in a JSON document: it can only shorten them.

    A document with `\u00e9` is never proven plain, and nesting and numbers are not checked. A NUL fails because
    `json.loads` would read such bytes as UTF-16; other raw controls are no JSON.
    """
    return (
        b"\x7f" not in data
        and b"\x00" not in data
        and _UNPRINTABLE.isdisjoint(_ESCAPE.findall(data))
        and (data.isascii() or _keeps_beyond_ascii(data))
    )


def _keeps_beyond_ascii(data: bytes) -> bool:
    """Whether `clean` keeps all characters of a document that are not ASCII: marks if each follows a letter."""
    try:
        text, others = data.decode(), set(data.translate(None, _ASCII).decode())
    except UnicodeDecodeError:
        return False
    return all(_is_kept(each) or (_is_kept(f"a{each}") and _follows_letters(each, text)) for each in others)


def _follows_letters(mark: str, text: str) -> bool:
    """Whether each occurrence of a mark stands right behind a letter that needs no base itself."""
    return all(before[-1:].isalpha() and _is_kept(before[-1:]) for before in text.split(mark)[:-1])


@lru_cache(maxsize=4096)
def _is_kept(text: str) -> bool:
    return clean(text) == text
