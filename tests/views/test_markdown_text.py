"""Names in Markdown stay plain names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.markdown import HOSTILE, assert_is_harmless

from envwatch.model.text import clean
from envwatch.views.report.document import code, code_note, code_text, listed


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=90), st.text("@`<>|:/a \\*_", max_size=90)))
def test_any_text_is_one_code_span_in_which_nothing_acts(text: str) -> None:
    for form in (code, code_text):
        span = form(clean(text))
        assert re.fullmatch(r"`[^`\n]+`", span)
        assert span[1] != " " != span[-2]
        assert_is_harmless(span)
    assert not re.search(r"[`<>|]|(?<![0-9A-Za-z])@", code_note(clean(text))[1:-1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hiro@laptop", "`hiro@laptop`"),
        ("@channel", "`(at)channel`"),
        ("a`b", "`a'b`"),
        ("https://x.example", "`https[:]//x.example`"),
        ("", "`–`"),
        ("x" * 40, f"`{'x' * 40}`"),
        ("x" * 41, f"`{'x' * 32}…{'x' * 7}`"),
    ],
)
def test_what_acts_nowhere_stays_as_it_is(text: str, shown: str) -> None:
    assert code(clean(text)) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "a"), (2, "a and b"), (3, "a, b and c"), (4, "a, b and 2 more"), (1_002, "a, b and 1,000 more")],
)
def test_a_list_is_a_part_of_a_sentence_and_one_more_is_named(count: int, text: str) -> None:
    assert listed([*"abc", *"x" * 999][:count], 2) == text
