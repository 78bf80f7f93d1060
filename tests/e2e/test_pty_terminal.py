"""Compares the emulated terminal, which reads changed lines only, with the library's screen."""

from __future__ import annotations

import pyte
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.pty_terminal import ChangedScreen

TEXT = ["abc", "x" * 13, "漢字", "\U0001f469x", "\u0301", "●", "\n", "\r", "\b"]
MOVES = [f"\x1b[{line};{column}H" for line in (1, 3, 5) for column in (1, 4, 10)]
CHANGES = ["[2J", "[K", "[1K", "[J", "[L", "[M", "[2P", "[3@", "[4X", "M", "[2;4r", "#8", "[?5h", "c"]
SIZES = [(5, 10), (4, 10), (5, 7), (6, 12)]

pieces = st.sampled_from([*TEXT, *MOVES, *(f"\x1b{change}" for change in CHANGES), *SIZES])


@example([("x" * 13, True), ("\r", True), ("\u0301", True)])
@given(st.lists(st.tuples(pieces, st.booleans()), max_size=40))
def test_what_is_read_of_a_screen_is_what_is_on_it(steps: list[tuple[str | tuple[int, int], bool]]) -> None:
    screen = ChangedScreen(10, 5)
    stream = pyte.Stream(screen)
    for piece, is_read in steps:
        if isinstance(piece, tuple):
            screen.resize(*piece)
        else:
            stream.feed(piece)
        if is_read:
            try:
                whole = pyte.Screen.display.fget(screen)  # type: ignore[attr-defined]
            except IndexError:  # half a wide character is left
                assume(False)
            assert screen.display == whole
