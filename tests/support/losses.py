"""A fleet that loses machines, and the dashboard in a person's likely situations at that time.

Losses are scheduled by listing number.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from support.faulty_server import KEY, Faulty, down, running, up
from support.pty_terminal import ENTER, ESC, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
    "help": Situation([("?", "States")], leave=ESC, is_covered=True),
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
    "time machine": Situation([("[", "REWOUND")], leave="L", is_covered=True, mark="^ ?now .*"),
    "second profile": Situation(is_second_profile=True),
    "explain in the pane": Situation([(ENTER, "ONLINE for "), ("E", r"is online|\bwhy\b")], leave=ESC * 2),
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
