"""The bytes of escape sequences: no text escapes from a payload."""

import base64
import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_fleet import WEAPONS

from envwatch.model.text import clean
from envwatch.tui.terminal.app import LONGEST_COPY, clipboard_sequence, notification_sequence

Style = Literal["osc9", "osc777"]

TEXTS = (
    st.text() | st.sampled_from(WEAPONS) | st.lists(st.sampled_from([*";:,\x07\x1b\x9c\\", "]9;4;1", "a"])).map("".join)
)


def payload(sequence: str) -> str:
    found = re.match(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    assert found
    return base64.b64decode(found[1]).decode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_the_clipboard_gets_exactly_the_text(text: str, in_tmux: bool) -> None:  # noqa: FBT001  hypothesis passes it
    assert payload(clipboard_sequence(text, in_tmux=in_tmux)) == text


def test_a_text_that_is_too_long_is_cut_between_characters() -> None:
    assert payload(clipboard_sequence("a" * LONGEST_COPY, in_tmux=False)) == "a" * LONGEST_COPY
    assert payload(clipboard_sequence("a" + "é" * LONGEST_COPY, in_tmux=False)) == "a" + "é" * ((LONGEST_COPY - 1) // 2)


def test_tmux_gets_the_sequence_itself_and_one_to_pass_on() -> None:
    plain = clipboard_sequence("x", in_tmux=False)
    assert clipboard_sequence("x", in_tmux=True) == plain + "\x1bPtmux;\x1b" + plain + "\x1b\\"


@pytest.mark.parametrize(
    ("style", "in_tmux", "expected"),
    [
        ("osc9", False, b"\x1b]9;envwatch: nas went offline\x07"),
        ("osc777", False, b"\x1b]777;notify;envwatch;nas went offline\x07"),
        ("osc9", True, b"\x1bPtmux;\x1b\x1b]9;envwatch: nas went offline\x07\x1b\\"),
        ("osc777", True, b"\x1bPtmux;\x1b\x1b]777;notify;envwatch;nas went offline\x07\x1b\\"),
    ],
)
def test_a_notification_is_one_sequence_that_tmux_passes_on(style: Style, expected: bytes, *, in_tmux: bool) -> None:
    assert notification_sequence(clean("nas went offline"), style, in_tmux=in_tmux).encode() == expected


@pytest.mark.parametrize("style", ["osc9", "osc777"])
def test_a_semicolon_does_not_end_a_notification_early(style: Style) -> None:
    assert notification_sequence(clean("a;b;;c"), style, in_tmux=False).endswith("a,b,,c\x07")


@pytest.mark.parametrize(("style", "separators"), [("osc9", 1), ("osc777", 3)])
@pytest.mark.parametrize("in_tmux", [False, True])
@given(raw=TEXTS)
def test_no_text_gets_out_of_a_notification(style: Style, separators: int, raw: str, *, in_tmux: bool) -> None:
    text = clean(raw)
    sequence = notification_sequence(text, style, in_tmux=in_tmux)
    frame = re.fullmatch(r"\x1bPtmux;\x1b(.*)\x1b\\", sequence) if in_tmux else re.fullmatch(r"(.*)", sequence)
    assert frame
    inner = frame[1]
    assert [place for place, sign in enumerate(inner) if not sign.isprintable()] == [0, len(inner) - 1]
    assert (inner[0], inner[-1]) == ("\x1b", "\x07")
    assert inner.count(";") == separators
    assert inner[:-1].endswith(text.replace(";", ","))
