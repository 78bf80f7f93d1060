import base64
import re

from hypothesis import given
from hypothesis import strategies as st

from envwatch.clipboard import LONGEST, clipboard_sequence


def payload(sequence: str) -> str:
    found = re.match(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    assert found
    return base64.b64decode(found[1]).decode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_a_terminal_gets_exactly_the_text(text: str, in_tmux: bool) -> None:  # noqa: FBT001  hypothesis passes it
    assert payload(clipboard_sequence(text, in_tmux=in_tmux)) == text


def test_what_is_too_long_is_cut_between_characters() -> None:
    assert payload(clipboard_sequence("a" * LONGEST, in_tmux=False)) == "a" * LONGEST
    assert payload(clipboard_sequence("a" + "é" * LONGEST, in_tmux=False)) == "a" + "é" * ((LONGEST - 1) // 2)


def test_tmux_is_asked_itself_and_told_to_pass_it_on() -> None:
    plain = clipboard_sequence("x", in_tmux=False)
    assert clipboard_sequence("x", in_tmux=True) == plain + "\x1bPtmux;\x1b" + plain + "\x1b\\"
