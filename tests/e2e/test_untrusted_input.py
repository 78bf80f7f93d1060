"""The real program in a terminal that sends invalid input."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path

import pytest
from support.budget import first_quick
from support.load import at_most
from support.pty_terminal import ESC, Terminal, environment
from support.shells import ENVWATCH, IN_BAND_RESIZE, SHOWN, modes_after, restored

REPORTS_SIZES = b"\x1b[?2048;2$y"
"""A terminal's answer that size reports are supported."""

NONSENSE = {
    "a Latin-1 letter": b"\xe9",
    "a continuation": b"\x80",
    "a byte that UTF-8 never has": b"\xff",
    "a mouse report past column 95": b"\x1b[M \xe9!",
    "a mouse report of letters": b"\x1b[Mqqq",
    "a code point out of range": b"\x1b[97;1;99999999u",
    "a surrogate": b"\x1b[97;1;55296u",
    "an enormous screen": REPORTS_SIZES + b"\x1b[48;99999;99999;99999;99999t",
    "another screen than the kernel's": REPORTS_SIZES + b"\x1b[48;3;3;30;30t",
    "a screen of no pixels, and a click": b"\x1b[48;24;80;0;0t\x1b[<0;5;5M\x1b[<0;5;5m",
    "a click far away": b"\x1b[<0;1000000;1000000M\x1b[<0;1000000;1000000m",
    "a colour": b"\x1b]11;rgb:qqqq/qqqq/qqqq\x1b\\",
}


SIZES = ("an enormous screen", "another screen than the kernel's", "a screen of no pixels, and a click")
"""Inputs that change how the program learns the size; each needs a separate program."""

RUNS = [*([name] for name in SIZES), [name for name in NONSENSE if name not in SIZES]]


@pytest.mark.parametrize("names", RUNS, ids=lambda names: names[0])
def test_nonsense_ends_nothing_and_keys_work_afterwards(environ: dict[str, str], names: list[str]) -> None:
    with Terminal(ENVWATCH, environ) as terminal:
        terminal.wait_for(SHOWN)
        for name in names:
            terminal.send(NONSENSE[name])
            terminal.press("?")
            terminal.wait_for("bell rings")
            terminal.press("q")
            terminal.wait_for_no("bell rings")
            terminal.wait_for(SHOWN)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert restored(terminal)


def test_keys_before_the_first_frame_are_text_of_the_filter_and_1_000_focus_reports_delay_no_key(
    environ: dict[str, str],
) -> None:
    with Terminal(ENVWATCH, environ) as terminal:
        terminal.press("/", "b", "?")
        terminal.wait_for("^ b[?] *$")
        terminal.wait_for("⏎ Keep the filter")
        assert " Keys " not in terminal.text
        terminal.press(ESC)
        terminal.wait_for_no("⏎ Keep the filter")
        with at_most(2):
            terminal.send(b"\x1b[O\x1b[I" * 500 + b"q")
            assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("rounds", first_quick([5, 20]))
def test_the_kernels_signal_reports_a_resize_even_if_the_terminal_offered_to(
    environ: dict[str, str], rounds: int
) -> None:
    with Terminal(ENVWATCH, environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.send(REPORTS_SIZES + b"\x1b[48;24;80;480;800t")
        terminal.wait_until(lambda: IN_BAND_RESIZE in modes_after(terminal.received).private, "the mode set")
        for _ in range(rounds):  # the offer again at the moment of the signal
            for (columns, lines), shown in (((30, 7), "too small"), ((80, 24), SHOWN)):
                terminal.send(REPORTS_SIZES)
                terminal.resize(columns, lines)
                terminal.wait_for(shown)
        terminal.press("\x03")
        assert terminal.wait_for_end() == 130


PIECES = [
    *(bytes([byte]) for byte in range(256)),
    *(b"\x1b[", b"\x1b[M", b"\x1bO", b"\x1b]", b"\x1bP", b"\x1b[<", b"\x1b[200~", b"\x1b[201~", b"\x1b[48;") * 8,
    *(b"\x1b[I", b"\x1b[O", b"\x1b[?2048;2$y", b"\x1b[?2026;2$y", b"99999999", b";", b":", b"M", b"u", b"t", b"R") * 8,
]  # fmt: skip
BROKEN = Path(__file__).parents[1] / "support" / "broken_app.py"

FUZZED = 2_000
"""Bytes; each may be a key with a slow effect."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", first_quick(range(2)))
def test_after_random_bytes_keys_work(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Terminal([sys.executable, str(BROKEN), "unending", str(tmp_path / "log")], environment(tmp_path)) as terminal:
        terminal.wait_for(SHOWN)
        for _ in range(FUZZED // 100):
            terminal.send(b"".join(chance.choices(PIECES, k=100))[:100])
        # Ends an incomplete sequence, and closes open boxes.
        terminal.send(b"\x18\x1b[201~")
        terminal.press(ESC * 20, "?")
        terminal.wait_for("bell rings")
        terminal.send_signal(signal.SIGTERM)
        assert terminal.wait_for_end() == 143
        assert restored(terminal)
