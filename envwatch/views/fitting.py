"""Fit text into a width in cells.

A line cuts or drops the parts that say least, a sentence breaks into two lines, and NAME has no fewer cells in a wider
terminal.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from envwatch.model.text import cells, composed, shortened, sliced, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envwatch.model.text import SafeText


GAP: Final = 2
"""Cells between two parts."""

MARGINS: Final = 2
"""Cells before and behind a line."""

CUT_AT: Final = 4
"""The usual weight of a cut; lighter parts are dropped first."""

MIN_CUT_CELLS: Final = 12


class Part(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = ""
    """A component class without `line--`; empty for the line's style."""
    weight: int = 5
    cut_at: int | None = None
    """The part is shortened before parts of this weight are dropped; None: never."""
    keep: Literal["start", "ends"] = "start"
    tail: str = ""
    """Text that follows without a gap and is never cut."""
    is_joined: bool = False
    """Whether the part follows without a gap and is dropped with the predecessor. Joined parts of equal weight are
    dropped together, so that all counts keep or lose the word."""


Row: TypeAlias = "tuple[Sequence[Part], Sequence[Part]]"
"""The parts at the left and at the right of a line."""


def gap_between(part: Part, following: Part) -> int:
    """Return the cells between two parts."""
    if following.is_joined:
        return 0
    return 1 if part.text.endswith(":") else GAP


def width_of(parts: Sequence[Part], cells: Callable[[str], int] = cells) -> int:
    """Return the cells of a line, with gaps and margins."""
    gaps = sum(gap_between(part, following) for part, following in pairwise(parts))
    return MARGINS + sum(cells(part.text + part.tail) for part in parts) + gaps


def fit(left: Sequence[Part], right: Sequence[Part], width: int) -> tuple[list[Part], list[Part]]:
    """Drop or cut the lightest part until the rest fits into `width` cells; a last part is cut to any length.

    Cut parts get back freed cells. Dropped parts return where they fit, the heaviest first.
    """
    line = _Line([*left, *right], width)
    line.shrink()
    line.give_freed_cells()
    line.take_back()
    places = sorted(line.kept)
    return [line.kept[place] for place in places if place < len(left)], [
        line.kept[place] for place in places if place >= len(left)
    ]


class _Line:
    """The parts that are kept, by place."""

    def __init__(self, parts: Sequence[Part], width: int) -> None:
        self._parts = parts
        self._width = width
        self._cells = cache(cells)  # each width is asked once
        self._dropped: list[list[int]] = []
        self.kept = dict(enumerate(parts))

    def _excess(self) -> int:
        parts = [self.kept[place] for place in sorted(self.kept)]
        return width_of(parts, self._cells) - self._width

    def shrink(self) -> None:
        while self.kept and (excess := self._excess()) > 0:
            place = self._place_to_cut()
            if place is None:
                self._drop_lightest()
            else:
                self._cut(place, self.kept[place], max(self._cells(self.kept[place].text) - excess, self._least))

    @property
    def _least(self) -> int:
        return 0 if len(self.kept) == 1 else MIN_CUT_CELLS

    def _place_to_cut(self) -> int | None:
        """Return the part to cut next; None if a lighter part is to be dropped before."""
        cut_at = {place: part.cut_at for place, part in self.kept.items() if part.cut_at is not None}
        long = [place for place in cut_at if self._cells(self.kept[place].text) > self._least]
        first = min(long, key=lambda place: cut_at[place], default=None)
        if first is None or len(self.kept) == 1:
            return first
        lightest = min(part.weight for part in self.kept.values())
        return first if cut_at[first] <= lightest else None

    def _cut(self, place: int, part: Part, room: int) -> None:
        text = shortened(composed(part.text), room, keep=part.keep)
        self.kept[place] = part._replace(text=text)

    def _drop_lightest(self) -> None:
        lightest = min(self.kept, key=lambda place: self.kept[place].weight)
        weight = self.kept[lightest].weight
        places = [lightest]
        if self.kept[lightest].is_joined:
            places = [place for place, part in self.kept.items() if part.is_joined and part.weight == weight]
        self._dropped.append([gone for place in places for gone in self._drop(place)])

    def _drop(self, place: int) -> list[int]:
        dropped = [place]
        if not self._parts[place].is_joined:
            behind = range(place + 1, len(self._parts))
            joined = takewhile(lambda following: self._parts[following].is_joined, behind)
            dropped += [following for following in joined if following in self.kept]
        for each in dropped:
            del self.kept[each]
        return dropped

    def give_freed_cells(self) -> None:
        for place, part in self.kept.items():
            whole = self._parts[place]
            if part != whole and (spare := -self._excess()) > 0:
                self._cut(place, whole, self._cells(part.text) + spare)

    def take_back(self) -> None:
        for places in sorted(self._dropped, key=lambda places: -self._parts[places[0]].weight):
            before = dict(self.kept)
            for place in places:
                if not self._parts[place].is_joined or place - 1 in self.kept:
                    self.kept[place] = self._parts[place]
            if self._excess() > 0:
                self.kept = before


def in_two_lines(
    before: Sequence[Part], text: Part, after: Sequence[Part], width: int, more: Part
) -> tuple[list[Row], bool]:
    """Return one line or two, and whether the text is cut.

    `after` stands in the last line, without a joined end that needs a line or a cut; `more` follows a cut text.
    """
    shorter = after[:-1] if after and after[-1].is_joined else after
    for right in (after, shorter):
        if not width or width_of((*before, text, *right)) <= width:
            return [([*before, text], right)], False
    first, rest = _broken(before, text, width)
    second = text._replace(text=" ".join(rest))
    for right in (after, shorter):
        if len(rest) == 1 and width_of((second, *right)) <= width - 2:
            return [first, ([second], right)], False
    return [first, ([second._replace(cut_at=CUT_AT)], [*shorter, more])], True


def _broken(before: Sequence[Part], text: Part, width: int) -> tuple[Row, list[SafeText]]:
    whole = composed(text.text)
    room = width - width_of((*before, text._replace(text="")))
    head = wrapped(whole, room)[0] if room >= MIN_CUT_CELLS else ""
    first: Row = [*before, text._replace(text=head)] if head else before, []
    return first, wrapped(sliced(whole, len(head)), width - 2)


def steady_width(terminal: int, left: Callable[[int], int], goal: Callable[[int], int]) -> int:
    """Return the cells of NAME in a terminal; no wider terminal has fewer.

    `left` returns the cells that the other columns leave in a terminal, never fewer than `goal` where they fit. `goal`
    grows with the terminal.
    """
    width = left(terminal)
    while goal(terminal) < width:
        terminal += 1
        width = min(width, left(terminal))
    return max(width, 1)
