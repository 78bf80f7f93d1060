"""Hostile text in arrangements of the table: groups, columns, differences, copies, exports, notifications.

As in `test_hostile`, only bytes sent over a benign fleet are allowed. A notification is the only OSC besides the
clipboard. Exported files hold no hostile character with a meaning in the file's format.
"""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any
from unicodedata import category
from xml.etree import ElementTree as ET

import pytest
from support.builders import TEXT_MEMBERS
from support.byte_scanner import dashboard, findings, kinds_in, quit_after
from support.demo_screen import block_height
from support.faulty_server import KEY, Faulty, credentials, serving
from support.hostile_fleet import OSC_52, SURROGATE, TITLE, WEAPONS, benign_rows, hostile_rows
from support.incidents import incident_of
from support.pty_terminal import ENTER, ESC, Terminal

from envwatch.fleet.alerting.incidents import ring_text
from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.tui.terminal.app import notification_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

HEADER = "  STATE    FOR BEAT NAME"
PASTED = "\x1b[200~pwned \x9b31m\x9d0;x\x9c\x07\x00\u202e\u200d[/]\x1b[201~"


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


GROUPS = ("BRANCH", "MODE", "VERSION", "USER", "POD", "OS")


def tour(terminal: Terminal, server: Faulty, rows: Callable[[], list[dict[str, Any]]]) -> int:
    """Arrange the table in every way, let the fleet change, and view the changes; return the number of acknowledged
    environments.
    """
    terminal.wait_for(HEADER)
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
    server.rows = later(rows())
    terminal.wait_for("· 1 gone")  # from then on, the block has the same lines over both fleets
    see_differences(terminal, 12)
    see_events(terminal)
    see_copies(terminal, 4)
    return acknowledge(terminal)


def see_groups(terminal: Terminal) -> None:
    for title in GROUPS:
        terminal.press("b")
        terminal.wait_for("Group by")
        terminal.press(title[0].lower(), ENTER)
        terminal.wait_for(f"grouped by {title}")
        terminal.wait_for("^..▾ ")
        terminal.press("G", "x", "x")  # the first lines are of the block
        terminal.wait_for_no("^..▾ ")
        terminal.press("G", "x")
        terminal.wait_for("^ ►▾ ")
        terminal.press("x")
        terminal.wait_for("^  ▾ ")
        terminal.press("g")
    terminal.press("0")
    terminal.wait_for_no("^..▾ ")


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
    terminal.press("4")
    terminal.wait_for("[0-9]/[0-9]+  ")
    terminal.wait_until(lambda: all("● on" not in line for line in terminal.display), "those that are offline")
    for count in range(1, 4):
        terminal.press("g", "a")  # acknowledged lines come last
        terminal.wait_for("Acknowledge .*")
        terminal.press(PASTED)
        terminal.wait_for("pwned")
        terminal.press(ENTER)
        terminal.wait_for("acknowledged on this machine until (it recovers|they recover)")
        terminal.wait_for_no("⏎ Keep the filter")
        terminal.wait_until(lambda count=count: len(acknowledged(terminal)) == count, "a line more")  # type: ignore[misc]
    terminal.press("0")
    terminal.wait_for_no("[0-9]/[0-9]+  ")
    return sum(acknowledged(terminal))


def acknowledged(terminal: Terminal) -> list[int]:
    found = (re.match(r".[► ]✓ (([0-9]+) )?", line) for line in terminal.display)
    return [int(match[2] or 1) for match in found if match is not None]


def export(terminal: Terminal, form: str, *keys: str) -> None:
    terminal.press("\x13")
    terminal.wait_for("Export rows or screen")
    terminal.press(*keys, ENTER)
    terminal.wait_for(rf"exported to .*\.{form}: .*")


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = tmp_path_factory.mktemp("home")
    with serving(benign_rows()) as server, dashboard(server, home, 120, 36) as terminal:
        tour(terminal, server, benign_rows)
        return quit_after(terminal)


@pytest.mark.slow
def test_nothing_of_a_hostile_fleet_gets_out_of_what_a_person_makes_of_it(usual: bytes, tmp_path: Path) -> None:
    with serving(hostile_rows()) as server, dashboard(server, tmp_path, 200, 50) as terminal:
        count = tour(terminal, server, hostile_rows)
        for form, keys in {"json": "", "csv": "c", "svg": "s"}.items():
            export(terminal, form, keys)
        sent = quit_after(terminal)
    assert findings(sent, usual) == set()
    assert KEY.encode() not in sent
    assert_acknowledgements_are_text(tmp_path / ".local/state/envwatch/acknowledged.json", count)
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
    known = json.loads(raw(path))
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
def test_a_notification_is_the_only_osc_and_nothing_of_theirs_gets_out_of_it(usual: bytes, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("weapon", [*WEAPONS, COMPACT, SURROGATE])
@pytest.mark.parametrize("is_in_tmux", [False, True])
def test_no_name_gets_out_of_a_notification(weapon: str, *, is_in_tmux: bool) -> None:
    lost = Event(kind=Kind.OFFLINE, at=ServerMs(0.0), id=clean("env-1"), name=clean(weapon))
    incident = incident_of(lost)
    sequences = [
        notification_sequence(ring_text([incident]), "osc9", in_tmux=is_in_tmux),
        notification_sequence(ring_text([incident]), "osc777", in_tmux=is_in_tmux),
    ]
    for sent in sequences:
        inner = sent.removeprefix("\x1bPtmux;").removesuffix("\x1b\\").replace("\x1b\x1b", "\x1b")
        match = NOTIFICATION.fullmatch(inner.encode())
        assert match is not None
        assert (match["nine"] or match["many"]).decode().isprintable()
