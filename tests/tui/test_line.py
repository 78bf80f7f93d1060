"""Shortening of a line."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App

from envwatch.tui.widgets.line import Part, TextLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.strip import Strip

    from envwatch.tui.widgets.line import Row

GROUPS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), max_size=6)
"""Groups of joined parts by weight."""


def parts_of(groups: list[list[int]]) -> list[Part]:
    return [
        Part(f"{group}.{place}", weight=weight, is_joined=place > 0)
        for group, weights in enumerate(groups)
        for place, weight in enumerate(weights)
    ]


@given(GROUPS, GROUPS, st.integers(2, 90))
def test_what_is_joined_to_a_part_never_stays_without_its_first(
    left: list[list[int]], right: list[list[int]], width: int
) -> None:
    line = TextLine()
    fitted = line.fitting(parts_of(left), parts_of(right), width)
    assert line.width_of([*fitted[0], *fitted[1]]) <= width
    for side in fitted:
        assert not side or not side[0].is_joined
        for before, part in pairwise(side):
            assert not part.is_joined or part.text[0] == before.text[0]


def test_the_count_of_nothing_goes_as_a_whole() -> None:
    left = [Part("● 21", weight=8), Part(" on", weight=4, is_joined=True)]
    left += [Part("◐ 0", weight=2), Part(" late", weight=2, is_joined=True)]
    fitted, _ = TextLine().fitting(left, [], 18)
    assert "".join(part.text for part in fitted) == "● 21 on"


def test_all_counts_keep_their_words_or_none_does() -> None:
    left = [Part("● 27", weight=8), Part(" on", weight=4, is_joined=True)]
    left += [Part("◐ 1", weight=8), Part(" late", weight=4, is_joined=True)]
    line = TextLine()
    shown = {width: "".join(part.text for part in line.fitting([*left], [], width)[0]) for width in (18, 19)}
    assert shown == {18: "● 27◐ 1", 19: "● 27 on◐ 1 late"}


def test_a_part_that_was_cut_has_back_what_dropping_others_has_made_free() -> None:
    left = [Part("profile", weight=9), Part("37 others that are long", weight=5)]
    right = [Part(" mode:unrestricted", weight=8, cut_at=4, tail=" 4/40 ")]
    line = TextLine()
    for width in (37, 35, 30):
        fitted = line.fitting([*left], [*right], width)
        assert [part.text for part in fitted[0]] == ["profile"]
        (cut,) = fitted[1]
        if width == 30:
            assert cut.text.endswith("…")
            assert line.width_of([*fitted[0], cut]) == width
        else:
            assert cut.text == " mode:unrestricted"


class Lines(TextLine):
    DEFAULT_CSS = "Lines { height: 3; }"

    def __init__(self) -> None:
        super().__init__()
        self.texts = ["a", "b", "c"]
        self.drawn: list[int] = []

    def rows(self) -> Sequence[Row]:
        return [([Part(text)], []) for text in self.texts]

    def render_line(self, y: int) -> Strip:
        self.drawn.append(y)
        return super().render_line(y)


class LinesApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Lines()


async def test_only_the_lines_that_changed_are_drawn_anew() -> None:
    async with LinesApp().run_test(size=(20, 5)) as pilot:
        lines = pilot.app.query_one(Lines)
        for texts, drawn in ((["a", "B", "c"], [1]), (["a", "B", "c"], []), (["a", "B"], [0, 1, 2])):
            lines.drawn.clear()
            lines.texts = texts
            lines.refresh_if_changed()
            await pilot.pause()
            assert lines.drawn == drawn
            shown = ["".join(segment.text for segment in lines.render_line(y)).strip() for y in range(len(texts))]
            assert shown == texts
