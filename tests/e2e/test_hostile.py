"""Hostile text against the real program in a real terminal: no byte acts as anything but text.

A tour visits every place that shows outside text. The program may send only sequences of the same tour over a benign
fleet.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest
from support import programs
from support.budget import first_quick
from support.byte_scanner import (
    clipboard,
    dashboard,
    findings,
    foreign_characters,
    kinds_in,
    quit_after,
    wait_for_clipboard,
)
from support.demo_screen import titles_line
from support.faulty_server import KEY, Faulty, credentials, says, serving
from support.hostile_fleet import SURROGATE, WEAPONS, benign_rows, hostile_error, hostile_row, hostile_rows
from support.pty_terminal import ENTER, ESC, Terminal, environment

from envwatch.cli.commands.list import FORMATS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SIZES = [(80, 24), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((120, 36), (200, 50)))]
WIDE = 120
"""Minimum columns for the pane next to the table."""


# -- the tour ----------------------------------------------------------------------------------------------------------
def changed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the same fleet a little later: modes, versions, branches and names rotated, some rows removed."""
    others = [*rows[1:], rows[0]]
    mixed = [
        {
            **row,
            **{name: other[name] for name in ("connectionName", "currentMode", "podId", "userId")},
            "metadata": {**row["metadata"], "gitBranch": other["metadata"]["gitBranch"], "os": other["metadata"]["os"]},
        }
        for row, other in zip(rows, others, strict=True)
    ]
    return mixed[:-2]


def name_under_cursor(terminal: Terminal) -> str:
    return terminal.part(terminal.cursor_line, 20, 41)


def is_row(line: str) -> bool:
    return re.match(r"[▌ ][► ][●◐○·?] ", line) is not None


def is_on_member(terminal: Terminal) -> bool:
    return terminal.display[terminal.cursor_line].startswith(" ►   ")


def is_past(terminal: Terminal, name: str) -> bool:
    return name_under_cursor(terminal) != name


def is_cursor_from(terminal: Terminal, line: int) -> bool:
    return terminal.cursor_line >= line


def take_from_palette(terminal: Terminal, command: str) -> None:
    terminal.press(":", *command.lower())
    terminal.wait_for(f"^│ {command}")
    terminal.press(ENTER)


def see_rows(terminal: Terminal, *, is_wide: bool) -> None:
    """Go to the last row and back; on a wide screen, see each line of block and table in the pane."""
    terminal.press("G")
    terminal.wait_until(lambda: not any(map(is_row, terminal.display[terminal.cursor_line + 1 :])), "the last row")
    last = terminal.cursor_line
    assert last > titles_line(terminal)
    terminal.press("g")
    terminal.wait_for_cursor(1)
    if is_wide:
        for line in range(2, last + 1):
            terminal.press("j")
            terminal.wait_until(partial(is_cursor_from, terminal, line), f"the cursor on line {line}")


def tour(terminal: Terminal, server: Faulty) -> None:
    """Visit every place that shows outside text while polls succeed; events come last."""
    is_wide = terminal.screen.columns >= WIDE
    terminal.wait_for("  STATE    FOR BEAT NAME")
    terminal.wait_for("►(● on|◐ late|○ ([0-9]+ )?off)")
    if is_wide:
        for is_shown in (False, True):  # the table alone, in full width
            take_from_palette(terminal, "Detail pane on or off")
            (terminal.wait_for if is_shown else terminal.wait_for_no)("▏")
    see_rows(terminal, is_wide=is_wide)
    terminal.press(ENTER)
    terminal.wait_for_no("⏎ Detail")
    terminal.press(*["\x1b[6~"] * 12, "g")
    terminal.press(ESC)
    terminal.wait_for("⏎ Detail")
    terminal.press("G", "E")  # an incident of several environments has no explanation
    terminal.wait_for(r"Letta's client|^ *verdict|^ *listing")
    terminal.press(*("j" * 12))
    terminal.press(ESC)
    terminal.wait_for("  STATE    FOR BEAT NAME")
    terminal.press("?")
    terminal.press("\x1b[6~")
    terminal.wait_for("asking 127")
    terminal.press(ESC)
    terminal.wait_for("  STATE    FOR BEAT NAME")
    terminal.press(":")
    terminal.wait_for("Search for")
    terminal.press("e", "\x1b[B", "\x1b[B")
    terminal.press(ESC)
    terminal.wait_for_no("▔▔▔▔")
    for letter in "nmv":
        terminal.press("o", letter, ENTER)
    terminal.wait_for("sorted by VERSION")
    terminal.press("0")
    terminal.wait_for_no("▲")
    terminal.press("/x")
    terminal.wait_for("[0-9]/[0-9]+  ")
    terminal.press(ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")

    server.rows = changed(server.rows)
    terminal.press("e")
    terminal.wait_for("Z ")
    terminal.wait_for("Close")
    terminal.press(ENTER, *("j" * 10), " ", "G")
    terminal.wait_for("Z ")
    terminal.press(ESC)
    terminal.wait_for("  STATE    FOR BEAT NAME")


def tour_of_errors(terminal: Terminal, server: Faulty, error: str) -> None:
    for status, words in ((500, "server error:"), (403, "forbidden:")):
        server.break_every_page(
            says(status, error, Retry_After=error[:200].replace("\n", " "), X_Odd="\x1b]0;pwned\x07")
        )
        terminal.wait_for(words)


@pytest.fixture(scope="module")
def usual_at(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], bytes]:
    """The program's bytes over a benign fleet at a width: a wide screen has a longer tour."""

    @cache
    def sent(*, is_wide: bool) -> bytes:
        home = tmp_path_factory.mktemp("home")
        size = (120, 36) if is_wide else (80, 24)
        with serving(benign_rows()) as server, dashboard(server, home, *size) as terminal:
            tour(terminal, server)
            return quit_after(terminal)

    return lambda columns: sent(is_wide=columns >= WIDE)


@pytest.fixture(scope="module")
def usual(usual_at: Callable[[int], bytes]) -> bytes:
    return usual_at(80)


@pytest.mark.parametrize("columns", first_quick([80, WIDE]))
def test_what_the_program_sends_of_itself_is_harmless(usual_at: Callable[[int], bytes], columns: int) -> None:
    usual = usual_at(columns)
    kinds = set(kinds_in(usual))
    assert not foreign_characters(usual)
    assert not [kind for kind in kinds if kind.startswith(("OSC 0", "OSC 1", "OSC 2 ", "OSC 5", "OSC 8", "control"))]
    reports = {kind for kind in kinds if re.match(r"CSI [nctS]", kind)}
    assert reports == {"CSI t 22;2", "CSI t 23;2"}, "asks for reports, or does not save and restore the title"
    modes = {kind.rpartition(" ")[2] for kind in kinds if re.match(r"CSI \?[hl]", kind)}
    assert modes <= {"25", "1000", "1003", "1004", "1006", "1015", "1049", "2004", "2026", "2048", "7"}


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_nothing_of_a_hostile_fleet_reaches_the_terminal_but_text(
    usual_at: Callable[[int], bytes], tmp_path: Path, columns: int, lines: int
) -> None:
    usual = usual_at(columns)
    with serving(hostile_rows()) as server, dashboard(server, tmp_path, columns, lines) as terminal:
        tour(terminal, server)
        if lines == 24:
            tour_of_errors(terminal, server, hostile_error())
        assert b"\x1b]52;" not in terminal.received
        before = len(terminal.received)
        terminal.press("G", "k", "c")
        wait_for_clipboard(terminal, before)
        terminal.wait_for("^ sent to the clipboard: ")  # also where a failure is shown
        copied = clipboard(bytes(terminal.received[before:]))
        assert len(copied) == 1
        assert copied[0].isprintable()
        sent = quit_after(terminal)
    assert len(clipboard(sent)) == 1
    assert findings(sent, usual, ["OSC 52"]) == set()
    assert KEY.encode() not in sent


def test_each_hostile_name_is_copied_as_clean_text(usual: bytes, tmp_path: Path) -> None:
    with serving(hostile_rows()) as server, dashboard(server, tmp_path, 80, 50) as terminal:
        terminal.wait_for("►")
        for left in reversed(range(len(WEAPONS))):
            if re.match(
                "[▌ ]►[○!] [0-9]+ ", terminal.display[terminal.cursor_line]
            ):  # an incident: each member has a line
                terminal.press("x", "j")
                terminal.wait_until(partial(is_on_member, terminal), "the first member")
            before = len(terminal.received)
            terminal.press("c")
            wait_for_clipboard(terminal, before)
            shown = name_under_cursor(terminal)
            if left:
                terminal.press("j")
                terminal.wait_until(partial(is_past, terminal, shown), "the next row")
        sent = quit_after(terminal)
    copied = clipboard(sent)
    assert len(copied) == len(set(copied)) == len(WEAPONS)
    assert all(text.isprintable() and len(text) <= 1024 for text in copied)
    assert findings(sent, usual, ["OSC 52"]) == set()


# -- checks that the tests above can fail ------------------------------------------------------------------------------
INJECTED = [
    weapon.replace("\t", "")
    for weapon in WEAPONS
    if re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0041]", weapon)
]


def into(sent: bytes, injected: str) -> bytes:
    middle = sent.index(b"\x1b", len(sent) // 2)
    return sent[:middle] + injected.encode() + sent[middle:]


@pytest.mark.parametrize("weapon", INJECTED)
def test_the_scanner_finds_a_weapon_that_got_through(usual: bytes, weapon: str) -> None:
    assert findings(into(usual, weapon), usual)


@pytest.mark.parametrize(
    "injected",
    [
        "\x07",
        "\x00",
        "\x9b",
        "\x1b[5m",
        "\x1b[31m",
        "\x1b[8m",
        "\x1b[2J",
        "\x1b]52;c;eA==\x07",
        "\x1b]0;x\x07",
        "\u202e",
    ],
)
def test_the_scanner_finds_a_single_sequence(usual: bytes, injected: str) -> None:
    assert findings(into(usual, injected), usual)
    assert not findings(into(usual, "\x1b[H\x1b[1;38;5;117;48;5;233mtext\x1b[22m\r\n\x1b[m"), usual)


# -- the listing -------------------------------------------------------------------------------------------------------
def listing(server: Faulty, home: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "envwatch", "list", *arguments]
    environ = environment(home, **credentials(server))
    return programs.run(command, environ, folder=home)


def test_a_hostile_listing_is_text_in_every_format(tmp_path: Path) -> None:
    with serving(hostile_rows()) as server:
        listings = {output: listing(server, tmp_path, "-o", output) for output in FORMATS}
    for ended in listings.values():
        assert ended.returncode == 0, ended.stderr
        assert findings(ended.stdout + ended.stderr) == set()
        assert KEY.encode() not in ended.stdout + ended.stderr
    count = len(WEAPONS)
    assert len(json.loads(listings["json"].stdout)["environments"]) == count
    assert len([json.loads(line) for line in listings["jsonl"].stdout.splitlines()]) == count
    cells = list(csv.reader(io.StringIO(listings["csv"].stdout.decode())))
    assert len(cells) == count + 1
    assert not [cell for row in cells[1:] for cell in row if cell[:1] in {"=", "+", "@", "\t", "\r"}]
    assert len(listings["table"].stdout.decode().split("\n")) == count + 2


def test_a_hostile_error_is_one_line_of_text(tmp_path: Path) -> None:
    page = f"<html><title>{hostile_error()}</title></html>"
    with serving(benign_rows()) as server:
        for fault, code in (
            (says(403, hostile_error()), 4),
            (says(200, page, Content_Type="text/html"), 3),
            (says(302, Location="https://\x1b]0;pwned\x07evil.example/[bold]"), 3),
        ):
            server.break_every_page(fault)
            ended = listing(server, tmp_path)
            assert ended.returncode == code
            assert ended.stdout == b""
            assert ended.stderr.count(b"\n") == 1
            assert findings(ended.stderr) == set()


@pytest.mark.parametrize("output", [each for each in FORMATS if each != "line"])
def test_half_a_surrogate_pair_is_text_like_any_other(output: str, tmp_path: Path) -> None:
    with serving([hostile_row(0, SURROGATE, now=0)]) as server:
        ended = listing(server, tmp_path, "-o", output)
    assert (ended.returncode, findings(ended.stdout + ended.stderr)) == (0, set())
    assert b"ud800surrogate" in ended.stdout
