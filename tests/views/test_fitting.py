"""Lines that drop and cut parts, and the width of NAME."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.views.fitting import Part, fit, in_two_lines, steady_width, width_of

GROUPS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), max_size=6)
"""Groups of joined parts by weight."""


def parts_of(groups: list[list[int]]) -> list[Part]:
    return [
        Part(f"{group}.{place}", weight=weight, is_joined=place > 0)
        for group, weights in enumerate(groups)
        for place, weight in enumerate(weights)
    ]


@given(GROUPS, GROUPS, st.integers(2, 90))
def test_a_joined_part_never_stays_without_its_first_part(
    left: list[list[int]], right: list[list[int]], width: int
) -> None:
    fitted = fit(parts_of(left), parts_of(right), width)
    assert width_of([*fitted[0], *fitted[1]]) <= width
    for side in fitted:
        assert not side or not side[0].is_joined
        for before, part in pairwise(side):
            assert not part.is_joined or part.text[0] == before.text[0]


def test_the_count_of_nothing_goes_as_a_whole() -> None:
    left = [Part("● 21", weight=8), Part(" on", weight=4, is_joined=True)]
    left += [Part("◐ 0", weight=2), Part(" late", weight=2, is_joined=True)]
    fitted, _ = fit(left, [], 18)
    assert "".join(part.text for part in fitted) == "● 21 on"


def test_all_counts_keep_their_words_or_none_does() -> None:
    left = [Part("● 27", weight=8), Part(" on", weight=4, is_joined=True)]
    left += [Part("◐ 1", weight=8), Part(" late", weight=4, is_joined=True)]
    shown = {width: "".join(part.text for part in fit([*left], [], width)[0]) for width in (18, 19)}
    assert shown == {18: "● 27◐ 1", 19: "● 27 on◐ 1 late"}


def test_a_cut_part_grows_into_the_room_of_dropped_parts() -> None:
    left = [Part("profile", weight=9), Part("37 others that are long", weight=5)]
    right = [Part(" mode:unrestricted", weight=8, cut_at=4, tail=" 4/40 ")]
    for width in (37, 35, 30):
        fitted = fit([*left], [*right], width)
        assert [part.text for part in fitted[0]] == ["profile"]
        (cut,) = fitted[1]
        if width == 30:
            assert cut.text.endswith("…")
            assert width_of([*fitted[0], cut]) == width
        else:
            assert cut.text == " mode:unrestricted"


def test_a_dropped_part_returns_where_a_heavier_one_does_not_fit() -> None:
    left = [Part("name", weight=9), Part("of twelve cells", weight=6), Part("a", weight=5)]
    shown = {width: [part.text for part in fit(left, [], width)[0]] for width in (9, 8)}
    assert shown == {9: ["name", "a"], 8: ["name"]}


@given(st.integers(20, 200), st.lists(st.integers(3, 40), max_size=8))
def test_a_wider_terminal_never_has_a_narrower_name(terminal: int, columns: list[int]) -> None:
    def goal(width: int) -> int:
        return max(20, width // 3)

    def left(width: int) -> int:
        room = width
        for column in columns:
            if room - column < goal(width):
                break
            room -= column
        return room

    names = [steady_width(width, left, goal) for width in (terminal, terminal + 1)]
    assert names == sorted(names)
    assert names[0] <= left(terminal)
    assert names[0] >= min(goal(terminal), left(terminal))


def test_lighter_parts_are_dropped_before_a_heavier_one_is_cut() -> None:
    parts = [Part("a long text that may be cut", weight=8, cut_at=4), Part("count", weight=3), Part("badge", weight=6)]
    shown = {width: [part.text for part in fit(parts, [], width)[0]] for width in (43, 42, 36, 35)}
    assert shown[43] == ["a long text that may be cut", "count", "badge"]
    assert shown[42] == shown[36] == ["a long text that may be cut", "badge"]
    assert shown[35] == ["a long text that may be c…", "badge"]


def test_a_part_is_cut_to_twelve_cells_before_it_is_dropped() -> None:
    parts = [Part("a long text that may be cut", weight=8, cut_at=4), Part("badge", weight=9)]
    shown = {width: [part.text for part in fit(parts, [], width)[0]] for width in (21, 20)}
    assert shown == {21: ["a long text…", "badge"], 20: ["badge"]}


MORE = Part("all", weight=9)


@pytest.mark.parametrize(
    ("width", "after", "lines", "is_cut"),
    [
        (35, "", ["acme: twelve words of a long text"], False),
        (34, "", ["acme: twelve words of a long", "text"], False),
        (22, "go", ["acme: twelve words", "of a long text go"], False),
        (22, "end", ["acme: twelve words", "of a long text end all"], True),
        (19, "", ["acme:", "twelve words of a long text all"], True),
    ],
)
def test_a_sentence_takes_one_line_or_two_and_is_cut_only_beyond(
    width: int, after: str, lines: list[str], *, is_cut: bool
) -> None:
    right = [Part(after)] if after else []
    found, was_cut = in_two_lines([Part("acme:")], Part("twelve words of a long text"), right, width, MORE)
    assert [" ".join(part.text for part in (*left, *right)) for left, right in found] == lines
    assert was_cut is is_cut
