"""The detail pane's rows fit at every width, and no unit of text is broken."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import NOW, environment, listed, reading, watched
from support.hostile_fleet import WEAPONS, hostile_rows
from support.tracked_environments import context_in

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, flatten
from envwatch.fleet.profile_state import Fleet
from envwatch.model.page import parse_environment
from envwatch.model.text import cells, clean
from envwatch.model.times import TimeStyle
from envwatch.screen.state import ASCII, UNICODE
from envwatch.views.pane.details import about_lines, event_detail, help_lines, id_lines
from envwatch.views.pane.explanation import explanation_rows
from envwatch.views.pane.layout import DetailLine, Fit, PaneLayout, command_rows, shell_arguments
from envwatch.views.pane.state_details import proof, state_headline
from envwatch.views.state_style import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.screen.state import Glyphs
    from envwatch.views.pane.layout import Row

NARROWEST = 33
ROWS = [parse_environment(row) for row in hostile_rows(NOW)]
LOST = [parse_environment(row | {"connectionId": None, "lastHeartbeat": None}) for row in hostile_rows(NOW + 5_000)]
FLEET, EVENTS = watched([listed(ROWS), listed(LOST, NOW + 5_000)])
MONITOR = Monitor(Fleet({NO_PROFILE: FLEET}))
LATER = reading(NOW + 13_000)

KNOWN = ("mode", "disconnected", "unrestricted", "heartbeat", "connectionId", "nothing:", "reconnects", "0.34.12", "·")


def text_of(row: Row) -> str:
    return "".join(piece.text for piece in row)


def texts(rows: Iterable[Row]) -> list[str]:
    return [text_of(row) for row in rows]


def rows_of(tracked: TrackedEnvironment, layout: PaneLayout) -> Iterator[Row]:
    own = [event for event in flatten(EVENTS) if event.id == tracked.environment.id]
    yield from layout.title(tracked.environment.name)
    yield from layout.sentence(state_headline(tracked, FLEET, own, LATER, is_ascii=layout.is_ascii))
    yield from layout.sentence([Piece(proof(tracked, FLEET, LATER, None))])
    lines = [
        *help_lines(tracked, FLEET, LATER),
        *(event_detail(event, NOW, None, is_ascii=layout.is_ascii) for event in own),
        *about_lines(tracked, context_in(FLEET), clean("up 90.6 % of the 23h 59m watched in 24h"), TimeStyle.UTC),
        *id_lines(tracked),
    ]
    for title in ("about", "since the baseline"):
        yield layout.section(title)
    for line in lines:
        yield from layout.rows(line)
    yield from explanation_rows(tracked, MONITOR, LATER, None, layout)


@given(
    st.sampled_from(list(FLEET.environments.values())), st.integers(NARROWEST, 120), st.sampled_from([UNICODE, ASCII])
)
def test_every_row_of_any_environment_fits_at_every_width(
    tracked: TrackedEnvironment, width: int, glyphs: Glyphs
) -> None:
    layout = PaneLayout(width, glyphs.is_ascii, glyphs.ellipsis, glyphs.rule)
    rows = list(rows_of(tracked, layout))
    assert max(cells(text_of(row)) for row in rows) <= width
    assert all(text_of(row).isprintable() for row in rows)


@given(st.lists(st.sampled_from(KNOWN), min_size=1, max_size=20), st.integers(NARROWEST, 120))
def test_no_word_is_broken(words: list[str], width: int) -> None:
    text, layout = clean(" ".join(words)), PaneLayout(width)
    for rows in (
        layout.rows(DetailLine("label", text)),
        layout.rows(DetailLine("label", text, letter="d")),
        layout.rows(DetailLine("a long label", text, depth=3)),
        layout.sentence([Piece(text, "offline"), Piece(text)], indent=2),
    ):
        assert set(" ".join(texts(rows)).split()) <= {*words, "label", "a", "long", "y", "d"}


@pytest.mark.parametrize("width", [NARROWEST, 42, 76, 120])
def test_no_word_of_the_program_is_broken_on_the_pane_of_a_benign_environment(width: int) -> None:
    row = environment("env-1", connectionName="hiro-laptop-22", connectionId=None, lastHeartbeat=None)
    profile_state, _ = watched([listed([row])])
    (tracked,) = profile_state.environments.values()
    monitor, whole = Monitor(Fleet({NO_PROFILE: profile_state})), PaneLayout(500)
    about = [
        line for line in about_lines(tracked, context_in(profile_state), None, TimeStyle.UTC) if line.fit is Fit.WORDS
    ]
    lines = [*help_lines(tracked, profile_state, LATER), *about]
    known = {word for line in lines for text in texts(whole.rows(line)) for word in text.split()}
    known |= {word for text in texts(explanation_rows(tracked, monitor, LATER, None, whole)) for word in text.split()}
    layout = PaneLayout(width)
    shown = [text for line in lines for text in texts(layout.rows(line))]
    shown += texts(explanation_rows(tracked, monitor, LATER, None, layout))
    assert {word for text in shown for word in text.split()} - known <= {"\\"}


# Commands.

COMMANDS = st.lists(st.text("ab -='\"\\$#;|&", min_size=1, max_size=12), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (60, ["do       letta server --computer-name=hiro-laptop-22     y l"]),
        (
            44,
            ["do       letta server \\                  y l", "         --computer-name=hiro-laptop-22"],
        ),
        (33, ["do       letta server \\       y l", "  --computer-name=hiro-laptop-22"]),
        (21, ["do       letta \\  y l", "  server \\", "  --computer-name=hir", "  o-laptop-22"]),
        (20, ["do               y l", "  letta server \\", "  --computer-name=hi", "  ro-laptop-22"]),
    ],
)
def test_a_command_is_broken_between_its_arguments_and_keeps_its_letter(width: int, expected: list[str]) -> None:
    command = clean("letta server --computer-name=hiro-laptop-22")
    line = DetailLine("do", command, "online", fit=Fit.COMMAND, letter="l")
    assert texts(PaneLayout(width).rows(line)) == expected


@given(COMMANDS.map(shlex.join), st.integers(20, 120), st.none() | st.integers(5, 120))
@example("npm i 'a  b'  c\\ d --x", 20, None)
def test_the_rows_of_a_command_pasted_together_are_the_command(command: str, width: int, first: int | None) -> None:
    rows = command_rows(clean(command), width, clean(" \\"), first=first or width)
    pasted = "\n".join(f"  {row}" for row in rows).replace("\\\n", "")
    assert shlex.split(pasted) == shlex.split(command)
    assert all(row.endswith(" \\") for row in rows[:-1])


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        (DetailLine("name", clean("x" * 21)), [f"name     {'x' * 21}"]),
        (DetailLine("name", clean("x" * 16), letter="d"), [f"name     {'x' * 16}  y d"]),
        (DetailLine("name", clean("x" * 17), letter="d"), [f"name     {'x' * 16}  y d", "         x"]),
        (DetailLine("name", clean("x" * 10), letter="d"), [f"name     {'x' * 10}        y d"]),
        (DetailLine("a long label", clean("x"), letter="d"), ["a long label               y d", "         x"]),
        (DetailLine("deep", clean("x"), depth=2), ["    deep x"]),
        (DetailLine("deep", clean("x"), depth=3), ["      deep", "         x"]),
        (DetailLine("name", clean("")), ["name     "]),
    ],
)
def test_a_labelled_line_has_the_text_in_the_tenth_cell_and_the_letter_at_the_right_edge(
    line: DetailLine, rows: list[str]
) -> None:
    assert texts(PaneLayout(30).rows(line)) == rows


@pytest.mark.parametrize(
    ("width", "first", "rows"),
    [
        (8, None, ["ab cd ef"]),
        (7, None, ["ab cd \\", "ef"]),
        (6, None, ["ab \\", "cd ef"]),
        (5, None, ["ab \\", "cd ef"]),
        (4, None, ["ab \\", "cd \\", "ef"]),
        (8, 7, ["ab cd \\", "ef"]),
        (8, 5, ["ab \\", "cd ef"]),
        (5, 8, ["ab cd ef"]),
    ],
)
def test_every_row_of_a_command_but_the_last_has_room_for_the_mark(
    width: int, first: int | None, rows: list[str]
) -> None:
    assert command_rows(clean("ab cd ef"), width, clean(" \\"), first=first or width) == rows


@given(COMMANDS.map("".join))
def test_any_text_is_broken_only_at_spaces_outside_quotes_and_before_comments(text: str) -> None:
    parts = shell_arguments(clean(text))
    assert re.sub(" +", "", "".join(parts)) == text.replace(" ", "")
    for part in parts[:-1]:
        assert not part.startswith("#")
        shlex.split(part, comments=False)  # raises for an open quote or a backslash at the end


@pytest.mark.parametrize("start", ["x ", "x;", "x &&", ""])
def test_a_comment_is_never_broken(start: str) -> None:
    assert shell_arguments(clean(f"npm i {start}# then rm -rf ~"))[-1].endswith("# then rm -rf ~")
    assert shell_arguments(clean("a b#c d")) == ["a", "b#c", "d"]


def test_on_windows_no_mark_of_continuation_is_added() -> None:
    line = DetailLine("do", clean("letta server --computer-name=hiro-laptop-22"), fit=Fit.WINDOWS_COMMAND)
    assert texts(PaneLayout(40).rows(line)) == ["do       letta server", "         --computer-name=hiro-laptop-22"]


@pytest.mark.parametrize("fit", [Fit.COMMAND, Fit.WINDOWS_COMMAND])
def test_a_command_outside_ascii_is_not_shown_but_can_be_copied(fit: Fit) -> None:
    line = DetailLine("do", clean("letta server --computer-name='東京-a'"), "online", fit=fit, letter="l")
    assert "東京-a" in "".join(texts(PaneLayout(80).rows(line)))
    (row,) = texts(PaneLayout(80, is_ascii=True).rows(line))
    assert "this terminal cannot show all of it" in row
    assert row.endswith("y l")


@given(st.sampled_from(WEAPONS), st.integers(NARROWEST, 120))
def test_an_argument_wider_than_the_pane_is_shown_whole(weapon: str, width: int) -> None:
    text = clean(weapon)
    rows = texts(PaneLayout(width).rows(DetailLine("update", text, fit=Fit.COMMAND, letter="u")))
    shown = "".join(row[9:] if row.startswith("update") else row for row in rows)
    squeezed = re.sub(r"y u| +|\\", "", shown)
    assert squeezed == re.sub(r"y u| +|\\", "", text)


# Ids, directories, names.


def test_an_id_is_shortened_in_its_middle_a_directory_keeps_its_end_and_a_section_is_a_rule() -> None:
    line = DetailLine("device", clean("5b491561-2c3d-4e5f-8a9b-0c1d2e6437b7"), fit=Fit.ENDS, letter="d")
    (row,) = texts(PaneLayout(33).rows(line))
    assert row == "device   5b491561-2c3d-4…7b7  y d"
    (row,) = texts(PaneLayout(60).rows(line))
    assert re.fullmatch(rf"device   {line.text} +y d", row)
    line = DetailLine("in", clean("/home/hiro/code/a-long-project-name/portal"), fit=Fit.END)
    (row,) = texts(PaneLayout(33).rows(line))
    assert row.startswith("in       …")
    assert row.endswith("name/portal")
    assert text_of(PaneLayout(20).section("about")) == "── about ───────────"
    assert text_of(PaneLayout(8, ellipsis="..", rule="-").section("since the baseline")) == "-- sin.."


def test_a_separator_stands_neither_at_the_start_nor_at_the_end_of_a_row() -> None:
    pieces = [
        Piece(clean("○ OFF for 8s"), "bold offline"),
        *(Piece(clean("· disconnected")) for _ in range(3)),
    ]
    for width in range(16, 60):
        for row in texts(PaneLayout(width).sentence(pieces)):
            assert not row.startswith("·")
            assert not row.endswith("·")


@pytest.mark.parametrize("text", ["2025-10-08 08:53Z", "2025-10-08 08:53", "32.0 GiB", "98.2 %", "120 s", "4m 12s"])
def test_a_date_keeps_its_time_and_a_number_its_unit(text: str) -> None:
    whole = clean(f"first {text} · last")
    for width in range(max(len(text), 9), 40):
        for rows in (PaneLayout(width).sentence([Piece(whole)]), PaneLayout(9 + width).rows(DetailLine("", whole))):
            assert any(text in row for row in texts(rows))
