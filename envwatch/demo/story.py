"""The demo's story: changes of machines, and hints for newcomers.

Times are in seconds from the opening, negative on the recorded day before.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MINUTE: Final = 60.0
HOUR: Final = 60.0 * MINUTE
DAY: Final = 24.0 * HOUR


class What(Enum):
    """The kinds of changes."""

    LOST, BACK = auto(), auto()
    """The connection ends; a new connection begins, also for a new machine."""
    SILENT, BEATS = auto(), auto()
    GONE = auto()
    POD = auto()
    MODE, BRANCH, VERSION = auto(), auto(), auto()


class Change(NamedTuple):
    """A line of the story."""

    at: float
    what: What
    rows: str
    """A machine's name, a pod, a role, or a role with a version."""
    value: str | None = None
    spread: float = 0.0
    """Seconds over which a group's machines change."""


LOST, BACK, SILENT, BEATS, GONE, POD, MODE, BRANCH, VERSION = What


NIGHT: Final = (
    #  at, what, rows, value, spread
    Change(-2 * DAY, VERSION, "laptop 0.34.12", "0.34.11"),
    Change(-2 * DAY, POD, "p-6", "p-4"),
    Change(-21.2 * HOUR, LOST, "build-box-8"),  # for hours, acknowledged
    Change(-20 * HOUR, SILENT, "laptop", spread=3 * HOUR),
    Change(-15.8 * HOUR, BACK, "build-box-8"),
    Change(-13.6 * HOUR, MODE, "priya-devbox", "unrestricted"),
    Change(-12 * HOUR, MODE, "priya-devbox", "acceptEdits"),
    Change(-10 * HOUR, LOST, "job", spread=2 * HOUR),
    Change(-8 * HOUR, BEATS, "laptop", spread=40 * MINUTE),
    Change(-6.5 * HOUR, BACK, "job", spread=20 * MINUTE),
    Change(-5.5 * HOUR, VERSION, "laptop 0.34.12", "0.34.12", spread=30 * MINUTE),
    Change(-5.5 * HOUR, BACK, "laptop 0.34.12", spread=30 * MINUTE),
    Change(-4 * HOUR, LOST, "edge-sin-7"),
    Change(-3.7 * HOUR, BACK, "edge-sin-7"),
    Change(-3 * HOUR, BRANCH, "hiro-studio", "feat/export"),
    Change(-160 * MINUTE, SILENT, "hiro-macbook-air"),
    Change(-44 * MINUTE, LOST, "p-6"),
    Change(-31 * MINUTE, POD, "p-6", "p-6"),
    Change(-30 * MINUTE, BACK, "p-6", spread=MINUTE),
)  # fmt: skip

OPENING: Final = (
    Change(-245, LOST, "東京-build-10"),
    Change(-75, BEATS, "raspberry-18"),
    Change(-60, SILENT, "raspberry-18"),  # late at the opening, off from second 45 on
    Change(8, MODE, "nightly-15", "unrestricted"),
    Change(16, BACK, "東京-build-10"),
    Change(28, LOST, "edge-fra-11"),
    Change(62, BACK, "edge-fra-11"),
    Change(72, BACK, "build-box-30"),  # appears
    Change(84, BACK, "amara-laptop-14"),
    Change(100, LOST, "mac-mini-25"),
    Change(104, BACK, "mac-mini-25-new"),  # the same machine with another name
    Change(120, BEATS, "raspberry-18"),
    Change(140, BRANCH, "build-box-30", "main"),
    Change(140, MODE, "build-box-30", "standard"),
    Change(180, LOST, "p-7"),  # a power cut
    Change(200, POD, "p-7", "p-8"),
    Change(225, BACK, "p-7", spread=5),
    Change(400, GONE, "mac-mini-25"),
)

HINTS: Final[Sequence[tuple[float, tuple[str, ...], str]]] = (
    (0, ("open",), "opens the machine's details, with what to do"),
    (10, ("events", "explain"), "shows all events; a mode became unrestricted"),
    (30, ("loss(1)",), "goes to the next loss"),
    (48, ("alerts",), "makes this machine alert always, never or by rule"),
    (64, ("filter",), "filters: web mode:unrestricted beat:>90s"),
    (80, ("event(-1)",), "goes back in time, event by event; L returns"),
    (96, ("help",), "explains all signs, colours and keys"),
    (184, ("fold",), "shows the machines of the power cut; n leads there"),
)
"""Start, actions and text of each hint: the text describes the first action, and any action ends the hint."""


def _flapping(at: float, name: str, lost_for: float, times: int) -> Iterator[Change]:
    for turn in range(times):
        yield Change(at + 2 * turn * lost_for, LOST, name)
        yield Change(at + (2 * turn + 1) * lost_for, BACK, name)


LIFE_FROM: Final = 5 * MINUTE
LIFE_EVERY: Final = 15 * MINUTE
LIFE: Final = (
    Change(0, BRANCH, "priya-devbox", "feat/export"),
    Change(30, SILENT, "gpu-node-16"),  # late
    Change(120, BEATS, "gpu-node-16"),
    Change(150, LOST, "edge-sin-7"),
    Change(200, MODE, "nightly-15", "acceptEdits"),
    Change(240, BACK, "edge-sin-7"),
    Change(280, BRANCH, "hiro-studio", "fix/login-loop"),
    *_flapping(300, "staging-10", 30.0, 5),
    Change(360, BACK, "amara-laptop-14"),
    Change(500, BRANCH, "priya-devbox", "feat/login"),
    Change(560, SILENT, "lukas-surface"),  # asleep
    Change(620, LOST, "chen-nas"),
    Change(690, BRANCH, "hiro-studio", "main"),
    Change(720, BACK, "chen-nas"),
    Change(740, BEATS, "lukas-surface"),
    Change(850, MODE, "nightly-15", "unrestricted"),
)
"""Calm life, repeated every `LIFE_EVERY`, and hourly in the further rounds of a large fleet."""

UNWATCHED: Final = (-7.5 * HOUR, -6.8 * HOUR)
"""A gap of the recorded day, without envwatch."""
FAILING: Final = (-21.8 * HOUR, -21.6 * HOUR)
ACKNOWLEDGED: Final = (-20.5 * HOUR, -15.9 * HOUR)
