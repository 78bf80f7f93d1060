"""A tolerant TOML reader: every syntax error, and all text between errors."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.config.toml_text import parsed

LINES = st.sampled_from(
    ["", "# a", "a = 1", "b = [1,", "2]", "[t]", "[t", "[t.u]", "c = '''", "'''", 'd = "', "e f", "= 3", "g = {h = 1,"]
)


@given(st.lists(LINES).map("\n".join) | st.text("ab=[]'\"\n #.1{}", max_size=60))
def test_a_text_has_mistakes_exactly_if_it_is_no_toml_and_each_has_a_line(text: str) -> None:
    found, _, mistakes = parsed(text.encode())
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert mistakes
        assert all(1 <= line <= text.count("\n") + 1 and what for line, what in mistakes)
    else:
        assert (found, mistakes) == (table, [])


@pytest.mark.parametrize(
    ("text", "lines", "rest"),
    [
        ("a = \nb = 1\nc d\ne = 2\n", [1, 3], {"b": 1, "e": 2}),
        ('a = [1,\n 2,\nb = 1\n"""\nc = 2', [1, 4], {"b": 1, "c": 2}),
        ("[t\na = 1\n[u]\nb = 2\n[u]\nc = 3\n[v]\nd = 4", [1, 5], {"u": {"b": 2}, "v": {"d": 4}}),
        ("a = 1\na = 2\nb = '''\nopen", [2, 3], {"a": 1}),
    ],
)
def test_what_stands_between_mistakes_is_read(text: str, lines: list[int], rest: dict[str, object]) -> None:
    table, _, mistakes = parsed(text.encode())
    assert ([line for line, _ in mistakes], table) == (lines, rest)


def test_a_text_that_is_no_toml_at_all_is_given_up_after_twenty_mistakes() -> None:
    _, _, mistakes = parsed(b"a =\n" * 1000)
    assert len(mistakes) == 21
