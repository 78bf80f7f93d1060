"""Documents that need no cleaning, judged by their bytes alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples

from envwatch.model.page import is_plain_json
from envwatch.model.text import clean

quick = settings(max_examples=examples(150), deadline=None)

CHARACTERS = 'aé東가🚀 \\"\u0301\u0302\u05b0\u1161\u1162\u1163\u200b\ufe0f\x1b\ud800'
"""Letters of one and two cells, marks, vowels that join the previous letter, and unprintable characters."""
PIECES = (*'\\"/ubfnrt01eaA \n\t\x00\x1b\x7fé.\u0301\u0302\u1161', "\\u202", "\\u001b", "NaN")


def strings_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for item in value for text in strings_of(item)]


def in_which_strings_are_clean(data: bytes) -> bool:
    return all(clean(text) == text for text in strings_of(json.loads(data)))


@quick
@given(st.lists(st.text(CHARACTERS, max_size=4), max_size=4), st.booleans())
def test_a_document_proven_plain_has_nothing_to_clean(value: list[str], ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if is_plain_json(data):
        assert in_which_strings_are_clean(data)


@quick
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_no_bytes_that_parse_are_wrongly_proven_plain(pieces: list[str]) -> None:
    data = ('"' + "".join(pieces) + '"').encode()
    if is_plain_json(data):
        try:
            assert in_which_strings_are_clean(data)
        except json.JSONDecodeError:
            return  # the parser refuses a raw control character or a lone backslash


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b'{"id": "env-1", "at": 1.5e3, "path": "a\\/b \\"c\\""}\r\n\t', True),
        (b'"C:\\\\work"', True),
        (b'"C:\\\\new"', True),
        (b'"C:\\\\\\new"', False),
        (b'"\\u001b"', False),
        (b'"\\b"', False),
        (b'"\\f"', False),
        (b'"\\n"', False),
        (b'"\\r"', False),
        (b'"\\t"', False),
        (b'"\x7f"', False),
        ('"André’s MacBook, 東京 🚀"'.encode(), True),
        ('"Andre\u0301 Tie\u0302\u0309n"'.encode(), False),
        ('"Andre\u0301", "\u05d0\u05b0"'.encode(), True),
        ('"\u0301a"'.encode(), False),
        ('"\u1100\u1161\u1162\u1163"'.encode(), False),
        ('"a\u200b"'.encode(), False),
        (b'"\xed\xa0\x80"', False),
        ('". "'.encode("utf-16-le"), False),
    ],
)
def test_a_plain_document_is_distinguished_from_one_with_escapes(data: bytes, plain: bool) -> None:  # noqa: FBT001 - a row
    assert is_plain_json(data) is plain


def test_bytes_that_would_be_read_as_utf_16_are_not_plain() -> None:
    data = b'"\x00\x2e\x20"\x00'
    assert data.isascii()
    assert json.loads(data) == "\u202e"
    assert not is_plain_json(data)
