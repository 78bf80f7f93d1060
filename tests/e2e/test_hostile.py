"""Hostile text against the real program in a real terminal: no byte acts as anything but text.

A tour visits every place that shows outside text; on a wide screen, in every arrangement of the table too. The program
may send only sequences of the same tour over a benign fleet. A notification is the only OSC besides the clipboard.
Exported files hold no hostile character with a meaning in the file's format.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from contextlib import ExitStack
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from unicodedata import category
from xml.etree import ElementTree as ET

import pytest
from support import programs
from support.builders import TEXT_MEMBERS
from support.byte_scanner import (
    clipboard,
    dashboard,
    findings,
    foreign_characters,
    kinds_in,
    quit_after,
    wait_for_clipboard,
)
from support.demo_screen import block_height, titles_line
from support.faulty_server import KEY, Faulty, credentials, says, serving
from support.hostile_fleet import (
    OSC_52,
    SURROGATE,
    TITLE,
    WEAPONS,
    benign_rows,
    hostile_error,
    hostile_row,
    hostile_rows,
)
from support.incidents import incident_of
from support.pty_terminal import ENTER, ESC, Terminal, environment

from envwatch.alerts.incident import ring_text
from envwatch.cli.commands.list import FORMATS
from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.screen.terminal.app import notification_sequence
from envwatch.stored.entries import content_of_text

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

WIDE = 120
"""Minimum columns for the pane next to the table."""

HEADER = "  STATE    FOR BEAT NAME"
PASTED = "\x1b[200~pwned \x9b31m\x9d0;x\x9c\x07\x00\u202e\u200d[/]\x1b[201~"


# -- the tour ----------------------------------------------------------------------------------------------------------
def is_row(line: str) -> bool:
    return re.match(r"[▌ ][► ][●◐○·?] ", line) is not None


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


def tour(terminal: Terminal) -> None:
    """Visit every place that shows outside text while polls succeed."""
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


def tour_of_errors(terminal: Terminal, server: Faulty, error: str) -> None:
    for status, words in ((500, "server error:"), (403, "forbidden:")):
        server.break_every_page(
            says(status, error, Retry_After=error[:200].replace("\n", " "), X_Odd="\x1b]0;pwned\x07")
        )
        terminal.wait_for(words)


# -- the tour of arrangements ------------------------------------------------------------------------------------------
def later(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the same fleet a little later: all fields of a baseline rotated, some rows removed."""
    others = [*rows[1:], rows[0]]
    links = ("connectionId", "connectedAt", "lastHeartbeat")
    fields = [name for name in TEXT_MEMBERS if name not in links]
    names = [name for name in rows[0] if name.startswith("field ")]
    mixed = [
        {
            **row,
            **{name: other[name] for name in (*fields, *(links if number % 3 == 0 else ()), "metadata")},
            **dict.fromkeys(names, "other"),
            "new\x1b[31m field": other["deviceId"],
        }
        for number, (row, other) in enumerate(zip(rows, others, strict=True))
    ]
    return mixed[:-2]


def to_the_dashboard(terminal: Terminal) -> None:
    terminal.press(ESC)
    terminal.wait_for(HEADER)


def tour_of_arrangements(terminal: Terminal, server: Faulty) -> int:
    """Arrange the table in every way, let the fleet change, and view the changes; return the number of acknowledged
    environments.
    """
    terminal.wait_for("►(● on|◐ late|○ ([0-9]+ )?off)")
    see_groups(terminal)
    for titles in COLUMNS:
        see_columns(terminal, titles)
    terminal.press("C")
    terminal.wait_for("Columns after")
    terminal.press("0")
    terminal.wait_for("columns: as many as fit")
    terminal.press("m")
    terminal.wait_for("baseline marked")
    server.rows = later(server.rows)
    terminal.wait_for("^. · 2 gone ")  # from then on, the block has the same lines over both fleets
    see_differences(terminal, 3)
    see_events(terminal)
    see_copies(terminal, 1)
    return acknowledge(terminal)


def see_groups(terminal: Terminal) -> None:
    terminal.press("b")
    terminal.wait_for("Group by")
    terminal.press("b", ENTER)
    terminal.wait_for("grouped by BRANCH")
    terminal.wait_for("^..▾ ")
    terminal.press("G", "x", "x")  # the first lines are of the block
    terminal.wait_for_no("^..▾ ")
    terminal.press("0")
    terminal.wait_for_no("^..▸ branch")


COLUMNS = (
    ("USER", "POD"),
    ("DEVICE", "CONNECTION"),
    ("NODE", "OS", "UPDATE"),
    ("DIRECTORY", "UP"),
    ("KEY OWNER", "BRANCH"),
    ("WHY", "MODE"),
    ("VERSION", "SEEN", "FIRST"),
    ("24H", "UP7D"),
)
"""Each column once, as many as fit."""


def see_columns(terminal: Terminal, titles: Sequence[str]) -> None:
    terminal.press("C")
    terminal.wait_for("Columns after")
    terminal.wait_for(r"\[[x ]\] MODE")
    found = re.findall(r"\[([x ])\] ([0-9A-Z ]*[A-Z])", terminal.text)
    offered = [(mark, title) for mark, title in found if title != "META"]  # keys of the metadata come last
    assert len(offered) == sum(map(len, COLUMNS))
    for mark, title in offered:
        terminal.press(*([" "] if (mark == "x") != (title in titles) else []), "j")
    terminal.press(ENTER)
    terminal.wait_for(f"^{HEADER} +" + "".join(rf"(?=.* {title}\b)" for title in titles))
    terminal.press("G", "g")
    terminal.wait_for_cursor(1)


def see_differences(terminal: Terminal, count: int) -> None:
    """View the block and some differing rows, on the screen and from top to bottom in the pane."""
    terminal.press("=")
    terminal.wait_for("SINCE THE BASELINE")
    terminal.wait_for("BASELINE .* [1-9][0-9]*/")
    terminal.wait_for(" → ")
    terminal.press("g")
    for _ in range(block_height(terminal) + count):
        terminal.press(ENTER)
        terminal.wait_for_no("⏎ Detail")
        terminal.press(*["\x1b[6~"] * 8)
        terminal.press("g", ESC)
        terminal.wait_for("⏎ Detail")
        terminal.press("j")
    terminal.press("G", "=")
    terminal.wait_for_no("SINCE THE BASELINE")


def see_events(terminal: Terminal) -> None:
    terminal.press("e")
    terminal.wait_for("^ events")
    terminal.wait_for("Z ")
    terminal.press(ENTER, "/o")
    terminal.wait_for("[0-9]/[0-9]+  ")
    terminal.press(PASTED)
    terminal.wait_for("pwned")
    terminal.press(ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")
    terminal.press("/status:offline")
    terminal.wait_for("[0-9]/[0-9]+  ")
    terminal.press(ENTER, "G", "g", *("j" * 10), ESC)
    terminal.wait_for_no("[0-9]/[0-9]+  ")
    to_the_dashboard(terminal)


def see_copies(terminal: Terminal, count: int) -> None:
    """View two of the eight copies of each line of the block and of some rows, so each copy of several lines."""
    terminal.press("g")
    terminal.wait_for_cursor(1)
    for number in range(block_height(terminal) + count):
        for place in (number % 8, (number + 4) % 8):
            terminal.press("y")
            terminal.wait_for("Show as plain text")
            terminal.press("\x1b[B" * place, " ")
            terminal.wait_for_no("Show as plain text")
            terminal.press("j", " ")
            to_the_dashboard(terminal)
        terminal.press("j")


def acknowledge(terminal: Terminal) -> int:
    terminal.press("g", "a")
    terminal.wait_for("Acknowledge .*")
    terminal.press(PASTED)
    terminal.wait_for("pwned")
    terminal.press(ENTER)
    terminal.wait_for("acknowledged on this machine until (it recovers|they recover)")
    terminal.wait_until(lambda: len(acknowledged(terminal)) == 1, "an acknowledged line")
    return sum(acknowledged(terminal))


def acknowledged(terminal: Terminal) -> list[int]:
    found = (re.match(r".[► ]✓ (([0-9]+) )?", line) for line in terminal.display)
    return [int(match[2] or 1) for match in found if match is not None]


def export(terminal: Terminal, form: str, *keys: str) -> None:
    terminal.press("\x13")
    terminal.wait_for("Export machines or screen")
    terminal.press(*keys, ENTER)
    terminal.wait_for(rf"exported to .*\.{form}: .*")


def whole_tour(terminal: Terminal, server: Faulty) -> int:
    """Make the tours of the screen's size; return the number of acknowledged environments."""
    tour(terminal)
    if terminal.screen.columns >= WIDE:
        return tour_of_arrangements(terminal, server)
    server.rows = later(server.rows)
    see_events(terminal)
    return 0


@pytest.fixture(scope="module")
def usual_at(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], bytes]:
    """The program's bytes over a benign fleet at a width: a wide screen has a longer tour."""

    @cache
    def sent(*, is_wide: bool) -> bytes:
        home = tmp_path_factory.mktemp("home")
        size = (120, 36) if is_wide else (80, 24)
        with serving(benign_rows()) as server, dashboard(server, home, *size) as terminal:
            whole_tour(terminal, server)
            return quit_after(terminal)

    return lambda columns: sent(is_wide=columns >= WIDE)


@pytest.fixture(scope="module")
def usual(usual_at: Callable[[int], bytes]) -> bytes:
    return usual_at(80)


@pytest.mark.slow
def test_what_the_program_sends_of_itself_is_harmless(usual: bytes) -> None:
    kinds = set(kinds_in(usual))
    assert not foreign_characters(usual)
    assert not [kind for kind in kinds if kind.startswith(("OSC 0", "OSC 1", "OSC 2 ", "OSC 5", "OSC 8", "control"))]
    reports = {kind for kind in kinds if re.match(r"CSI [nctS]", kind)}
    assert reports == {"CSI t 22;2", "CSI t 23;2"}, "asks for reports, or does not save and restore the title"
    modes = {kind.rpartition(" ")[2] for kind in kinds if re.match(r"CSI \?[hl]", kind)}
    assert modes <= {"25", "1000", "1003", "1004", "1006", "1015", "1049", "2004", "2026", "2048", "7"}


SIZES = [(80, 24), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((120, 36), (200, 50)))]


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_nothing_of_a_hostile_fleet_reaches_the_terminal_but_text(
    usual_at: Callable[[int], bytes], tmp_path: Path, columns: int, lines: int
) -> None:
    usual = usual_at(columns)
    with serving(hostile_rows()) as server, dashboard(server, tmp_path, columns, lines) as terminal:
        acknowledged = whole_tour(terminal, server)
        if columns >= WIDE:
            for form, keys in {"json": "", "csv": "c", "svg": "s"}.items():
                export(terminal, form, keys)
        else:
            tour_of_errors(terminal, server, hostile_error())
        assert b"\x1b]52;" not in terminal.received or columns >= WIDE, "a copy that nobody asked for"
        before = len(terminal.received)
        terminal.press("G", "k", "c")
        wait_for_clipboard(terminal, before)
        terminal.wait_for("^ sent to the clipboard: ")  # also where a failure is shown
        (copied,) = clipboard(bytes(terminal.received[before:]))
        assert copied.isprintable()
        sent = quit_after(terminal)
    assert findings(sent, usual, ["OSC 52"]) == set()
    assert KEY.encode() not in sent
    if columns >= WIDE:
        assert_acknowledgements_are_text(tmp_path / ".local/state/envwatch/acknowledged.json", acknowledged)
        (listing,), (cells,), (picture,) = (
            sorted(tmp_path.glob(f"envwatch-*.{suffix}")) for suffix in ("json", "csv", "svg")
        )
        assert_json_is_text(listing)
        assert_csv_is_text(cells)
        assert_picture_is_a_picture(picture)


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *texts_in(item))


def raw(path: Path) -> str:
    """Return a file's text, asserted free of control and invisible characters except newlines."""
    text = path.read_bytes().decode()
    assert {c for c in text if category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}} <= {"\n"}
    assert KEY not in text
    return text


def assert_acknowledgements_are_text(path: Path, count: int) -> None:
    known = content_of_text(raw(path)).content
    assert len(known) == count
    assert all(text.isprintable() and len(text) <= 1024 for text in texts_in(known))
    assert all(ack["note"].startswith("pwned \\x9b31m") for ack in known.values())


def assert_json_is_text(path: Path) -> None:
    rows = json.loads(raw(path))["environments"]
    assert len(rows) == len(WEAPONS)
    assert all(text.isprintable() for text in texts_in(rows))
    assert any("acknowledged" in row and row["acknowledged"] for row in rows)


def assert_csv_is_text(path: Path) -> None:
    header, *rows = csv.reader(io.StringIO(raw(path)))
    assert len(rows) == len(WEAPONS)
    assert all(len(row) == len(header) for row in rows)
    assert not [cell for row in rows for cell in row if cell[:1] in {"=", "+", "@", "-", "\t", "\r"} and cell != "-"]


DRAWN = {"svg", "style", "defs", "clipPath", "rect", "g", "text", "circle", "title"}


def assert_picture_is_a_picture(path: Path) -> None:
    text = raw(path)
    assert not re.search(r"url\(['\" ]*[a-z]+:", text), "fetches something"
    root = ET.fromstring(text)
    for element in root.iter():
        assert element.tag.rpartition("}")[2] in DRAWN
        assert not [name for name in element.attrib if name.lower().startswith("on") or name.endswith("href")]
        assert not [value for value in element.attrib.values() if "script:" in value.lower()]


# -- checks that the tests above can fail ------------------------------------------------------------------------------
INJECTED = [
    weapon.replace("\t", "")
    for weapon in WEAPONS
    if re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0041]", weapon)
]
SINGLE = ["\x07", "\x00", "\x9b", "\x1b[5m", "\x1b[31m", "\x1b[8m", "\x1b[2J", f"{OSC_52}", TITLE, "\u202e"]
HARMLESS = "\x1b[H\x1b[1;38;5;117;48;5;233mtext\x1b[22m\r\n\x1b[m"


def test_the_scanner_finds_each_weapon_and_each_single_sequence(usual: bytes) -> None:
    def found(injected: str) -> set[str]:
        middle = usual.index(b"\x1b", len(usual) // 2)
        return findings(usual[:middle] + injected.encode() + usual[middle:], usual)

    assert [injected for injected in (*INJECTED, *SINGLE) if not found(injected)] == []
    assert found(HARMLESS) == set()


# -- the listing -------------------------------------------------------------------------------------------------------
def listing(server: Faulty, home: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "envwatch", "list", *arguments]
    environ = environment(home, **credentials(server))
    return programs.run(command, environ, folder=home)


def test_a_hostile_listing_is_text_in_every_format(tmp_path: Path) -> None:
    with serving([*hostile_rows(), hostile_row(0, SURROGATE, now=0)]) as server:
        listings = {output: listing(server, tmp_path, "-o", output) for output in FORMATS}
    for ended in listings.values():
        assert ended.returncode == 0, ended.stderr
        assert findings(ended.stdout + ended.stderr) == set()
        assert KEY.encode() not in ended.stdout + ended.stderr
    count = len(WEAPONS) + 1
    assert len(json.loads(listings["json"].stdout)["environments"]) == count
    assert len([json.loads(line) for line in listings["jsonl"].stdout.splitlines()]) == count
    cells = list(csv.reader(io.StringIO(listings["csv"].stdout.decode())))
    assert len(cells) == count + 1
    assert not [cell for row in cells[1:] for cell in row if cell[:1] in {"=", "+", "@", "\t", "\r"}]
    assert len(listings["table"].stdout.decode().split("\n")) == count + 2
    assert all(b"ud800surrogate" in listings[each].stdout for each in FORMATS if each != "line")


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


# -- notifications -----------------------------------------------------------------------------------------------------
BELL = "control '\\x07'"
NOTIFICATION = re.compile(
    rb"\x1b\](?:9;envwatch: (?P<nine>[^\x00-\x1f\x7f]*)|777;notify;envwatch;(?P<many>[^\x00-\x1f\x7f;]*))\x07"
)
"""A notification of envwatch, to the intended end."""
COMPACT = f";{OSC_52[:5]}\x07\x1b\\\x9c{TITLE}\n9;4;\u202e"
"""A name that tries every way out of an OSC."""


def notified(sent: bytes) -> list[str]:
    return [(match["nine"] or match["many"]).decode() for match in NOTIFICATION.finditer(sent)]


def has_notified(terminal: Terminal) -> bool:
    return bool(notified(bytes(terminal.received)))


@pytest.mark.slow
def test_a_notification_is_the_only_osc_and_holds_hostile_names(usual: bytes, tmp_path: Path) -> None:
    rows = [row | {"connectionName": COMPACT} for row in hostile_rows() if row["connectionId"] is not None][:4]
    with serving([row | {"id": f"env-{n}"} for n, row in enumerate(rows)]) as server, ExitStack() as stack:
        terminals = []
        for style in ("osc9", "osc777"):
            home = tmp_path / style
            home.mkdir()
            rings = {"ENVWATCH_BELL": "true", "ENVWATCH_NOTIFY": style, "ENVWATCH_ALERT_AFTER": "2s"}
            environ = credentials(server) | rings
            program = Terminal.of_envwatch("--interval", "1", home=home, columns=120, environ=environ)
            terminals.append(stack.enter_context(program))
        for terminal in terminals:
            terminal.wait_for("►(● on|◐ late|○ ([0-9]+ )?off)")
        server.rows = [{**row, "connectionId": None} for row in server.rows]
        for terminal in terminals:
            terminal.wait_until(partial(has_notified, terminal), "a notification")
        everything = [quit_after(terminal) for terminal in terminals]
    for sent in everything:
        (message,) = notified(sent)
        assert "went offline" in message
        assert message.isprintable()
        assert ";" not in message
        rest = NOTIFICATION.sub(b"", sent)
        assert kinds_in(rest)[BELL] == 1
        assert findings(rest, usual, [BELL]) == set()


def test_no_name_gets_out_of_a_notification() -> None:
    for weapon in (*WEAPONS, COMPACT, SURROGATE):
        lost = Event(kind=Kind.OFFLINE, at=ServerMs(0.0), id=clean("env-1"), name=clean(weapon))
        text = ring_text([incident_of(lost)])
        sequences = (
            notification_sequence(text, "osc9", in_tmux=False),
            notification_sequence(text, "osc9", in_tmux=True),
            notification_sequence(text, "osc777", in_tmux=True),
        )
        for sent in sequences:
            inner = sent.removeprefix("\x1bPtmux;").removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b")
            assert NOTIFICATION.fullmatch(inner.encode()) is not None, sent
            (message,) = notified(inner.encode())
            assert message.isprintable()
