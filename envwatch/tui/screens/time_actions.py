"""The keys of recorded time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeAlias

from textual.binding import Binding, BindingType
from textual.message import Message

from envwatch.fleet.events import flatten
from envwatch.model.clock import WallMs
from envwatch.model.times import past_moment_of
from envwatch.tui.screens.table_screen import TableScreen
from envwatch.views import status_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.fleet.events import Event
    from envwatch.tui.state import Rewound

TIME_LABELS: Final = {
    "step(-1)": "Back",
    "step(1)": "On",
    "event(-1)": "Event",
    "event(1)": "Event",
    "go_to_time": "Time",
    "live": "Live",
    "pause": "Pause",
}

_MORE_LABELS: Final = {
    "explain": "Explain",
    "event(-1)": "Past",
    "silence": "Silence",
    "fold": "Fold",
    "pick_sort": "Sort",
    "mark_row": "Mark",
    "pick_group": "Group",
    "pick_columns": "Columns",
    "go_to_time": "To a time",
    "pause": "Pause",
    "refresh_now": "Refresh",
    "reset": "Reset view",
    "mark": "Baseline",
    "export": "Export",
}
"""Labels for a wide footer, the most useful first."""

_LONGEST_MOMENT: Final = 40

_OF_PRESENT: Final = frozenset({"silence", "refresh_now"})
_OF_LINE: Final = frozenset({"explain", "silence", "mark_row"})


def more_labels(rewound: Rewound | None, *, has_line: bool) -> dict[str, str]:
    """Return the labels of `_MORE_LABELS` whose keys have an effect now."""
    hidden = frozenset[str]() if has_line else _OF_LINE
    if rewound is not None:
        hidden |= _OF_PRESENT | TIME_LABELS.keys()
    return {action: label for action, label in _MORE_LABELS.items() if action not in hidden}


def time_label(action: str, rewound: Rewound | None) -> str | None:
    """Return a label, or None to hide the key."""
    if rewound is None or (rewound.playing is None and action == "pause"):
        return None
    if rewound.playing is not None and action in {"live", "pause"}:
        return "End" if action == "live" else "Play" if rewound.playing.is_paused else "Pause"
    return TIME_LABELS[action]


def is_other_time(old: Rewound | None, new: Rewound | None) -> bool:
    """Return whether the past was left or entered, or a replay paused or continued."""
    before, after = (None if each is None else each.playing for each in (old, new))
    return (old is None) is not (new is None) or before != after


class Steps(NamedTuple):
    """A number of listings to go back (below 0) or forward."""

    by: int


class EventSteps(NamedTuple):
    """A number of events to go back (below 0) or forward."""

    by: int
    is_wanted: Callable[[Event], bool]


class AtTime(NamedTuple):
    """A moment by this machine's clock."""

    wall: WallMs


class Reached(NamedTuple):
    """A moment that a replay reached; gaps are skipped."""

    wall: WallMs


class Live(NamedTuple):
    """The present, or a replay's end."""


Goal: TypeAlias = Steps | EventSteps | AtTime | Reached | Live


class TimeActions(TableScreen):
    """The time machine's keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # First in the footer, which drops the last keys.
        Binding("L", "live", "Back to live", id="history.live"),
        Binding("left_square_bracket", "step(-1)", "One listing back", key_display="[", id="history.back"),
        Binding("right_square_bracket", "step(1)", "One listing forward", key_display="]", id="history.forward"),
        Binding(
            "left_curly_bracket", "event(-1)", "Back to the previous event", key_display="{", id="history.event_back"
        ),
        Binding("right_curly_bracket", "event(1)", "On to the next event", key_display="}", id="history.event_forward"),
        Binding("T", "go_to_time", "Go to a time …", id="history.time"),
    ]

    @dataclass
    class Wanted(Message):
        """The user goes to another moment."""

        goal: Goal

    def action_step(self, count: int) -> None:
        self.post_message(self.Wanted(Steps(count)))

    def action_event(self, count: int) -> None:
        self.post_message(self.Wanted(EventSteps(count, self._shows())))

    def action_live(self) -> None:
        self.post_message(self.Wanted(Live()))

    def action_go_to_time(self) -> None:
        from envwatch.tui.screens.prompt import Prompt

        last, zone = datetime.fromtimestamp(self.state.last / 1000, UTC), self.options.zone

        def moment_in(text: str) -> WallMs | None:
            found = past_moment_of(text, last, zone) if text.strip() else None
            return None if found is None else WallMs(found.timestamp() * 1000)

        def mistake_in(text: str) -> str:
            return status_text.mistake_text(text) if moment_in(text) is None else ""

        def go(answer: str) -> None:
            if (wall := moment_in(answer)) is not None:
                self.post_message(self.Wanted(AtTime(wall)))

        question = "Show the screen at this past time"
        prompt = Prompt(question, status_text.EXAMPLES, _LONGEST_MOMENT, enter="Go", mistake_in=mistake_in)
        self.ask(prompt, go)

    def _shows(self) -> Callable[[Event], bool]:
        """Return a test for events of the fleet, and of rows that the view shows or would have shown at the event."""
        view, state = self.view, self.state
        if not view.is_narrowed:
            return lambda _: True
        from envwatch.views.events.matching import EventFilter

        keys = {tracked.key for tracked in self.table.matching}
        query = view.query
        event_filter = EventFilter(
            query, self.options.zone, state.monitor.is_acked, next(iter(state.monitor.fleet)).profile_name
        )

        def is_shown(event: Event) -> bool:
            singles = flatten([event])
            if any(single.id is None or (single.profile, single.id) in keys for single in singles):
                return True
            return bool(query) and any(event_filter.results(event))

        return is_shown
