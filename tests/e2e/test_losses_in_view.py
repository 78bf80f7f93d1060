"""Losses in the real program: the screen names a loss after any user action, with marks, and few keys handle a loss."""

from __future__ import annotations

import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from support import programs
from support.builders import wire_row
from support.byte_scanner import clipboard
from support.faulty_server import KEY, Faulty, down, running, serving, unlimited, up
from support.pty_terminal import ENTER, ESC, Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

FIRST: Final = "lost-one"
NEWEST: Final = "lost-two"

OLDER: Final = "older-01"

POLLS_BETWEEN: Final = 3
"""Polls from the first to the second loss, at one poll a second."""

TOGETHER: Final = [f"pod-{number:02}" for number in range(1, 13)]

USUAL: Final = [f"{kind}-{number:03}" for kind in ("api", "web") for number in range(1, 75)]
"""148 machines that stay up. By name, lost machines sort into the middle, outside every viewport."""

CONFIG: Final = """
interval = "1s"
page_size = 250
requests_per_minute = 6000
"""

MINUTE_MS: Final = 60_000


@dataclass
class Fleet:
    """Machines, and each loss by the number of the first listing that shows the loss."""

    names: Sequence[str]
    older: int = 0
    """Number of losses before the first listing: `older-01` 20 minutes ago, `older-02` 30 minutes ago, … Each loss is
    an incident alone."""
    listings: int = 0
    _lost_from: dict[str, int] = field(default_factory=dict)
    _seen_at: dict[str, float] = field(default_factory=dict)
    """A lost machine's last sign of life, in milliseconds."""
    _lock: RLock = field(default_factory=RLock)

    def rows(self, now: float) -> list[dict[str, Any]]:
        with self._lock:
            self.listings += 1
            rows = [self._row(name, now) for name in self.names]
            for number in range(1, self.older + 1):
                name = f"older-{number:02}"
                at = self._seen_at.setdefault(name, now - (number + 1) * 10 * MINUTE_MS)
                rows.append(down(name, at, podId=_pod_of(name)))
            return rows

    def _row(self, name: str, now: float) -> dict[str, Any]:
        if self.listings < self._lost_from.get(name, self.listings + 1):
            return up(name, now, podId=_pod_of(name))
        return down(name, self._seen_at.setdefault(name, now - 2_000), podId=_pod_of(name))

    def lose(self, *names: str, apart: int = 0) -> int:
        """Drop the connections of machines; return the number of the first listing that shows a loss.

        Args:
            names: of the machines.
            apart: listings between losses.
        """
        with self._lock:
            first = self.listings + 1
            self._lost_from |= {name: first + place * apart for place, name in enumerate(names)}
            return first


def _pod_of(name: str) -> str:
    return "p-7" if name in TOGETHER else f"p-{sum(name.encode()) % 5}"


@contextmanager
def watched(home: Path, *fleets: Fleet, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    """Run the dashboard with one profile per fleet, from the third drawn listing of each fleet on."""
    with ExitStack() as stack:
        config = [CONFIG]
        for number, fleet in enumerate(fleets, start=1):
            server = Faulty(fleet.rows)
            stack.enter_context(running(server))
            config.append(f'[profiles.site-{number}]\nbase_url = "{server.url}"\napi_key_env = "FLEET_KEY"\n')
        path = home / "config.toml"
        path.write_text("".join(config), encoding="utf-8")
        profiles = ",".join(f"site-{number}" for number in range(1, len(fleets) + 1))
        environ = {"ENVWATCH_CONFIG": str(path), "FLEET_KEY": KEY}
        program = Terminal.of_envwatch("--profile", profiles, home=home, columns=columns, lines=lines, environ=environ)
        terminal = stack.enter_context(program)
        for fleet in fleets:
            wait_for_listing(terminal, fleet, 4)
        terminal.wait_for("● on ")
        yield terminal


def wait_for_listing(terminal: Terminal, fleet: Fleet, number: int) -> None:
    """Wait for the request of a listing; every earlier listing is then drawn or about to be drawn."""
    terminal.read_until(lambda: fleet.listings >= number, f"{number} listings")


Steps: TypeAlias = "Sequence[tuple[str, str]]"
"""Keys, each with a pattern that shows the effect."""


def do(terminal: Terminal, steps: Steps) -> None:
    for keys, pattern in steps:
        terminal.press(keys)
        terminal.wait_for(pattern)


TO_OLDER: Final = ("n", rf"^.►.* {OLDER}\b")
ASK: Final = ("a", "Acknowledge ")
ONLY_WEB: Final = r"(?s)\A(?!.* api-0).* web-001\b"
FILTER: Final = (f"/web{ENTER}", ONLY_WEB)


@dataclass(frozen=True)
class Situation:
    steps: Steps = ()
    leave: str = ""
    """Keys that lead back to the table."""
    is_covered: bool = False
    """Whether a screen or the past covers the table; only the newest loss must then be visible."""
    older: int = 0
    is_second_profile: bool = False
    mark: str = ""
    """Pattern before the state of a loss."""


SITUATIONS: Final = {
    "nothing touched": Situation(),
    "one line down": Situation([("j", r"^.►.* api-002\b")]),
    "at the bottom": Situation([("G", r"^.►.* web-074\b")]),
    "help": Situation([("?", "Keys")], leave=ESC, is_covered=True),
    "event log": Situation([("e", "^ ?events ")], leave=ESC, is_covered=True),
    "a filter kept": Situation([FILTER]),
    "typing a filter": Situation([("/we", ONLY_WEB)], leave=ESC),
    "sorted by name": Situation([("o", "Sort by"), (f"n{ENTER}", "NAME▲")]),
    "about to acknowledge": Situation([TO_OLDER, ASK], leave=ESC, is_covered=True, older=1),
    "palette": Situation([(":", "Search for")], leave=ESC, is_covered=True),
    "handover report": Situation(
        [(":handover", "Handover report of"), (ENTER, "the last +│"), (ENTER, "^# envwatch")],
        leave=ESC,
        is_covered=True,
    ),
    "all groups folded": Situation(
        [("b", "Group by"), (f"p{ENTER}", "▾ pod p-"), ("x", "▸ pod p-"), ("x", r"(?s)\A(?!.*▾).*▸ pod p-")]
    ),
    "time machine": Situation(
        [("T", "at this past"), ("3s ago\r", "REWOUND")], leave="L", is_covered=True, mark="^ ?now .*"
    ),
    "second profile": Situation(is_second_profile=True),
    "explain in the pane": Situation([(ENTER, "ON for "), ("E", r"is online|\bwhy\b")], leave=ESC * 2),
    "on one of twelve older losses": Situation([("nn", "^.►.* older-")], older=12),
}
"""By the names of the tests' parameters."""


def is_named(terminal: Terminal, *names: str, mark: str = "") -> bool:
    lines = terminal.display
    return all(any(re.search(rf"{mark}\boff\b.*\b{name}\b", line) for line in lines) for name in names)


def is_on(terminal: Terminal, name: str) -> bool:
    return terminal.cursor_line >= 0 and f" {name}" in terminal.display[terminal.cursor_line]


@dataclass
class Sight:
    terminal: Terminal
    misses: list[str] = field(default_factory=list)

    def look(self, when: str, *names: str, mark: str = "", within: float = 1.0) -> None:
        """Read until the screen names the losses; note losses that stay unnamed for `within` seconds."""
        terminal = self.terminal
        try:
            terminal.wait_until(lambda: is_named(terminal, *names, mark=mark), within=within)
        except AssertionError:
            missing = [name for name in names if not is_named(terminal, name, mark=mark)]
            self._note(f"{when}: no line of {', '.join(missing)}")
        if not terminal.display[0].startswith(" site-1"):
            self._note(f"{when}: no status line")

    def go_to(self, name: str) -> None:
        """Press `n` until the cursor stands on a loss; note a loss that `n` does not reach."""

        def is_reached() -> bool:
            return is_on(self.terminal, name)

        for _ in range(3):
            if is_reached():
                return
            self.terminal.press("n")
            with suppress(AssertionError):
                self.terminal.wait_until(is_reached, within=1.0)
        if not is_reached():
            self._note(f"n does not reach {name}")

    def _note(self, miss: str) -> None:
        self.misses.append(f"{miss}\n{self.terminal.text}\n")


def misses_of(home: Path, situation: Situation, columns: int, lines: int) -> list[str]:
    """Lose two machines, 3 s apart, and return the losses that the screen did not name.

    On fewer than 10 lines the block has two lines: only the newest loss must be named.
    """
    fleets = [Fleet([*USUAL, FIRST, NEWEST], situation.older)]
    if situation.is_second_profile:
        fleets = [Fleet(USUAL), Fleet([*(f"mail-{number}" for number in range(8)), FIRST, NEWEST])]
    fleet, both = fleets[-1], [NEWEST] if lines < 10 else [FIRST, NEWEST]
    with watched(home, *fleets, columns=columns, lines=lines) as terminal:
        do(terminal, situation.steps)
        sight = Sight(terminal)
        first = fleet.lose(FIRST, NEWEST, apart=POLLS_BETWEEN)
        wait_for_listing(terminal, fleet, first + 2)
        sight.look("first loss, 2 polls", FIRST, mark=situation.mark)
        in_view = [NEWEST] if situation.is_covered else both
        for polls in (2, 12):
            wait_for_listing(terminal, fleet, first + POLLS_BETWEEN + polls)
            sight.look(f"{polls} polls", *in_view, mark=situation.mark)
        terminal.press(situation.leave)
        if situation.is_covered:
            terminal.wait_for_no(situation.steps[-1][1])
            sight.look("back on the table", *both, within=5.0)
        if FIRST not in both:
            sight.go_to(FIRST)
        return sight.misses


# -- situations --------------------------------------------------------------------------------------------------------
AT_ONCE = 24

QUICK = ("nothing touched", "help", "about to acknowledge", "all groups folded", "time machine", "second profile")
"""Situations of a default run and of every size, one for each way to hide a row.

`tests/views/test_block.py` proves the block's lines."""


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """Begin the runs of all selected situations at once, after the program that later programs are forked from."""
    programs.run([sys.executable, "-m", "envwatch", "--version"], environment(tmp_path_factory.mktemp("first")))
    items = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    runs: dict[str, Any] = {item.nodeid: item.callspec.params["outcome"] for item in items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield {id_: threads.submit(run, tmp_path_factory.mktemp("home")) for id_, run in runs.items()}


@pytest.fixture
def outcome(request: pytest.FixtureRequest, outcomes: dict[str, Future[Any]]) -> Future[Any]:
    return outcomes[request.node.nodeid]


@pytest.mark.slow
@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(
            partial(misses_of, situation=situation, columns=columns, lines=lines),
            id=f"{name}-{columns}x{lines}",
        )
        for columns, lines in ((80, 24), (120, 36), (60, 20), (40, 8))
        for name, situation in SITUATIONS.items()
        if lines in {24, 8} or name in QUICK  # all in the usual and the smallest size
    ],
    indirect=True,
)
def test_two_losses_3_s_apart_are_in_view_after_two_polls_and_after_twelve(outcome: Future[list[str]]) -> None:
    misses = outcome.result()
    assert not misses, "\n".join(misses)


@pytest.mark.slow
def test_three_keys_and_a_note_lead_to_a_loss_behind_a_filter_explained_known_and_told(tmp_path: Path) -> None:
    fleet = Fleet([*USUAL, *TOGETHER])
    with watched(tmp_path, fleet) as terminal:
        do(terminal, [FILTER, ("j", ONLY_WEB)])
        fleet.lose(*TOGETHER)
        terminal.wait_for(r"12 off .*NEW .*pod-01.*disconnected")
        do(terminal, [("n", r"^.►.* pod-01\b"), ASK, (f"swap{ENTER}", r"^(?=.*✓).*\b12 off\b.* pod-01\b.*")])
        terminal.press("ys")
        terminal.wait_until(lambda: clipboard(bytes(terminal.received)), "the clipboard")
        (copied,) = clipboard(bytes(terminal.received))
        assert all(text in copied for text in (*TOGETHER[:4], "8 more", "offline since", "disconnected", "swap")), (
            copied
        )


# -- the block ---------------------------------------------------------------------------------------------------------
NAMES = [f"host-{number:02}" for number in range(40)]
STARTED = time.time() * 1000
HOUR = 3_600_000
LOSS = "ff8787"
TEAL = "87d7ff"
CURSOR = "3a3a3a"


def rows(lost: Collection[str]) -> list[dict[str, Any]]:
    """Return 40 rows: `lost` offline, and one row offline for two days."""
    now = time.time() * 1000
    changes: dict[str, Any] = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": STARTED - HOUR}
    down = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": now - 5_000}
    found = [wire_row(name, connectionName=name, **(changes | down if name in lost else changes)) for name in NAMES]
    return [*found, wire_row("old", connectionName="old", **(down | {"lastSeenAt": now - 172_800_000}))]


def lose(server: Faulty, lost: Collection[str], *terminals: Terminal) -> None:
    server.rows = rows(lost)
    for terminal in terminals:
        terminal.press("r")


def assert_marks(usual: Terminal, plain: Terminal, ansi: Terminal) -> None:
    """Assert the loss with bar, tag and reason below the status line, next to the cursor; then the rule."""
    for terminal, marks in ((usual, "▌►○"), (plain, "!>x"), (ansi, "▌►○")):
        terminal.wait_for(rf"^{re.escape(marks)} off +[0-9]+s NEW +host-20 +disconnected$")
        assert " host-20 " in terminal.display[1]
        assert re.match("(── 39 on · 1 old ─|-- 39 on . 1 old -)", terminal.display[2])
        assert terminal.display[3].startswith("  STATE    FOR BEAT NAME ")
    place = usual.display[1].index("NEW")
    bar, mark, tag = (usual.screen.buffer[1][x] for x in (0, 1, place))
    assert (bar.fg, tag.fg, tag.bold, mark.bg, tag.bg) == (LOSS, LOSS, True, CURSOR, CURSOR)
    assert plain.screen.buffer[1][plain.display[1].index("NEW")].reverse
    tag = ansi.screen.buffer[1][place]
    assert (ansi.screen.buffer[1][0].fg, tag.reverse, "red" in (tag.fg, tag.bg)) == ("red", True, True)


def assert_one_place(server: Faulty, usual: Terminal) -> None:
    """The cursor follows a row into the block and stays on the line when the row returns; the table omits the row."""
    usual.press("jjj")
    usual.wait_for("^ ►● on .* host-02 ")
    lose(server, {"host-20", "host-02"}, usual)
    usual.wait_for(r"^▌►○ (2 )?off +[0-9]+s NEW +.*host-02\b.* disconnected$")
    assert sum("host-02" in line for line in usual.display[:-2]) == 1
    lose(server, (), usual)
    usual.wait_for(r"^▌►● .*back .* BACK +.*host-02\b")
    assert_tagged(usual, "^▌►● .*back ", "BACK", TEAL)
    assert sum("host-02" in line for line in usual.display[:-2]) == 1


def assert_an_answer_where_nobody_is_needed(server: Faulty, usual: Terminal) -> None:
    lose(server, {"host-30"}, usual)
    usual.wait_for("NEW +host-30 ")
    usual.press("n")
    usual.wait_for("^▌►○ off .* host-30 ")
    usual.press("a")
    usual.wait_for("Acknowledge on this machine: host-30")
    usual.press("disk swap", ENTER)
    usual.wait_for("^ ►✓ off .* host-30 .*disk swap")
    assert usual.screen.buffer[usual.cursor_line][0].fg != LOSS
    usual.press("n")
    usual.wait_for("nothing pages: 1 acknowledged, 1 old")


@pytest.mark.slow
def test_losses_stand_in_the_block_with_marks_and_in_one_place(tmp_path: Path) -> None:
    with serving(rows(())) as server, ExitStack() as stack:

        def start(home: str, *options: str, **environ: str) -> Terminal:
            (tmp_path / home).mkdir()
            command = ("--interval", "10m", *options)
            program = Terminal.of_envwatch(
                *command, home=tmp_path / home, environ=unlimited(server) | {"COLORTERM": "truecolor"} | environ
            )
            terminal = stack.enter_context(program)
            terminal.wait_for("40 on")
            return terminal

        usual = start("usual")
        plain = start("plain", "--ascii", NO_COLOR="1")
        ansi = start("ansi", ENVWATCH_THEME="envwatch-ansi")
        for terminal in (usual, plain, ansi):
            assert re.match("(──|--) 40 on ", terminal.display[1]), "the block takes no line"
        lose(server, {"host-20"}, usual, plain, ansi)
        assert_marks(usual, plain, ansi)
        assert_one_place(server, usual)
        assert_an_answer_where_nobody_is_needed(server, usual)
        for terminal in (usual, plain, ansi):
            terminal.press("q")
            assert terminal.wait_for_end() == 0


def assert_tagged(terminal: Terminal, pattern: str, tag: str, colour: str) -> None:
    """Assert a bar and a bold coloured tag, or a tag in reverse video with few colours or none."""
    terminal.wait_for(pattern)
    y = next(y for y, line in enumerate(terminal.display) if re.match(pattern, line))
    bar, mark = terminal.screen.buffer[y][0], terminal.screen.buffer[y][terminal.display[y].index(tag)]
    assert (bar.fg, mark.fg, mark.bold, mark.reverse) == (colour, colour, True, False) or mark.reverse


def block_of(terminal: Terminal) -> list[str]:
    lines = terminal.display[1:]
    return lines[: next((y for y, line in enumerate(lines) if re.match("──| +STATE ", line)), 0)]


@pytest.mark.slow
def test_the_block_takes_a_third_of_the_screen_and_counts_the_machines_without_room(tmp_path: Path) -> None:
    with watched(tmp_path, Fleet(USUAL, older=12)) as terminal:
        for columns, lines, most in ((80, 50, 12), (80, 24, 8), (60, 15, 3), (40, 8, 2)):
            terminal.resize(columns, lines)
            for keys in ("g", "G", "n", "n"):
                terminal.press(keys)
                terminal.wait_until(lambda most=most: len(block_of(terminal)) == most, f"{most} lines")  # type: ignore[misc]
                block = block_of(terminal)
                assert "older-01" in block[0], "the newest loss"
                left = 12 - sum(" older-" in line for line in block)
                if most > 2:  # of two lines, one is the cursor's
                    assert re.match(rf" \+{left} more · n *$" if left else ".* older-12 ", block[-1])
            assert (terminal.display[most + 1][:2] == "──") is (lines > 9)
            terminal.wait_until(
                lambda most=most: terminal.cursor_line in range(1, most + 1),  # type: ignore[misc]
                "n leads to a line that is then in view",
            )


# -- the first start without a line of configuration -------------------------------------------------------------------
SERVERS = {name: {"connectedAt": STARTED - 72 * HOUR} for name in ("db-1", "nas", "web-1", "web-2")}
LAPTOPS: dict[str, dict[str, Any]] = {
    "mac-ana": {"connectedAt": STARTED - 72 * HOUR, "metadata": {"os": "darwin"}},
    "pc-ben": {"connectedAt": STARTED - 30 * HOUR, "metadata": {"os": "win32"}},
    "linux-cyd": {"connectedAt": STARTED - 9 * HOUR},
}
JOBS = {f"ci-{number}": {"connectedAt": STARTED - HOUR // 3} for number in range(3)}
EVERY_ROW = {**SERVERS, **LAPTOPS, **JOBS}


def fleet(now: float) -> list[dict[str, Any]]:
    return [up(name, now, podId=None, **values) for name, values in EVERY_ROW.items()]


def fleet_without_power(now: float) -> list[dict[str, Any]]:
    return [
        down(name, now - 2_000, podId=None, **{**values, "connectedAt": None}) for name, values in EVERY_ROW.items()
    ]


@pytest.mark.slow
def test_of_servers_laptops_and_jobs_all_down_the_block_names_the_servers(tmp_path: Path) -> None:
    with serving(fleet) as server:
        environ = {**unlimited(server), "ENVWATCH_ALERT": "", "ENVWATCH_INTERVAL": "1s"}
        with Terminal.of_envwatch(home=tmp_path, environ=environ) as terminal:
            terminal.wait_for(r"^── 10 on ─")
            server.script = fleet_without_power
            terminal.wait_for(r"^▌.○ 4 off +[0-9]+s NEW ")
            terminal.wait_for(r"^── 6 not paging ─")
            (line,) = [line for line in terminal.display if "NEW" in line and "▌" in line]
            assert set(re.findall(r"[a-z]+-?[a-z0-9]*", line.partition("NEW")[2])) & set(EVERY_ROW) == set(SERVERS)
            terminal.press("G", ENTER)
            terminal.wait_for(r"alerts +does not page: watched for 0 of 48 h")
            for name, word, shown in (("ci-0", "always", "5 off"), ("nas", "never", "4 of 5 off|4 off")):
                command = [sys.executable, "-m", "envwatch", "alerts", "set", name, word]
                ended = programs.run(command, environment(tmp_path, **environ))
                assert (ended.returncode, word in ended.stderr.decode()) == (0, True)
                terminal.wait_for(shown)
            terminal.wait_for(r"^── 6 not paging \(1 never\) ─")
            terminal.press("q", "q")
            assert terminal.wait_for_end() == 0
