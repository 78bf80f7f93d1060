"""The base of the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeAlias, TypeVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen

from envwatch.alerts.incident import losses_text
from envwatch.fleet.events import Event, flatten
from envwatch.fleet.problems import is_problem
from envwatch.model.clock import Clocks, WallMs
from envwatch.model.text import SafeText, clean, natural_key
from envwatch.model.times import parse_past_moment
from envwatch.screen.state import NO_NOTICE, Choice, MonitorState, Notice, StateNode
from envwatch.screen.widgets.footer import keyless_binding
from envwatch.screen.widgets.news_bar import NewsBar
from envwatch.views import state_style
from envwatch.views.state_style import NOT_NOW, REPLAYED, moment_text
from envwatch.views.table.block_text import NAME_CELLS, line_names_text, several_text
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from envwatch.alerts.incident import Incident
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.screen.widgets.environment_table import EnvironmentTable
    from envwatch.views.output.environment_list import EnvironmentList


NO_ENVIRONMENT: Final = "no machine under the cursor"

AnswerT = TypeVar("AnswerT")


class Target(NamedTuple):
    """The environments that a key acts on."""

    environments: Sequence[TrackedEnvironment]
    name: str
    """Short names with the number of hidden environments; without environments, the reason."""
    was_lost: bool = False
    """Whether the user chose a loss: an environment that is up has recovered."""
    shared: SafeText | None = None
    hidden: frozenset[EnvironmentKey] = frozenset()
    blindness: Incident | None = None

    @property
    def is_or_are(self) -> str:
        return f"{self.name} {'is' if len(self.environments) == 1 else 'are'}"


_LONGEST_MOMENT: Final = 40


class Steps(NamedTuple):
    """A number of listings or wanted events; a negative number goes back."""

    by: int
    is_wanted: Callable[[Event], bool] | None = None


class AtTime(NamedTuple):
    """A moment by this machine's clock; a replay (`is_played`) skips gaps."""

    wall: WallMs
    is_played: bool = False


PAST_KEYS: Final = {"history.back": "left_square_bracket", "history.forward": "right_square_bracket"}
"""Keys by binding id, bound only while the screen shows the past."""
LIVE: Final = AtTime(WallMs(inf))
"""The present, or a replay's end."""


Goal: TypeAlias = Steps | AtTime


class TableScreen(Screen[None], StateNode):
    """A screen with a table, and the keys of recorded time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # First in the footer, which drops the last keys.
        Binding("L", "live", "Back to live", id="history.live"),
        keyless_binding("step(-1)", "One poll back", "history.back", show=True),
        keyless_binding("step(1)", "One poll forward", "history.forward", show=True),
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

    table: EnvironmentTable
    view: reactive[View] = reactive(View)
    marked: reactive[frozenset[EnvironmentKey]] = reactive(frozenset, init=False, repaint=False)
    """Marked environments, also in hidden rows."""

    def show_message(self, text: str, now: Clocks | None = None) -> None:
        """Show a message; an empty text clears the news bar."""
        given_at = (now or self.state.present).monotonic
        self.query_one(NewsBar).message = Notice(clean(text), given_at) if text else NO_NOTICE

    def ask(self, dialog: Screen[AnswerT | None], take: Callable[[AnswerT], None]) -> None:
        """Show a dialog, and pass on the answer, if any."""
        self.app.push_screen(dialog, lambda answer: None if answer is None else take(answer))

    def choose(self, title: str, choices: Sequence[Choice], take: Callable[[str], None], current: str = "") -> None:
        from envwatch.screen.screens.dialogs import Menu

        self.ask(Menu(title, choices, current), take)

    def known(self, keys: Iterable[EnvironmentKey]) -> list[TrackedEnvironment]:
        """Return the newest states of environments in the fleet."""
        return [tracked for key in keys if (tracked := self.state.monitor.fleet.tracked(key)) is not None]

    @property
    def target(self) -> Target:
        """The marked environments, else the line under the cursor."""
        if not self.marked:
            return self.under_cursor
        if not (found := self.known(self.marked)):
            return Target((), "no marked machine is in the fleet")
        hidden = self.table.row_cursor.hidden([tracked.key for tracked in found])
        return self.target_of(sorted(found, key=lambda each: natural_key(each.environment.label)), hidden)

    def target_of(
        self, environments: Sequence[TrackedEnvironment], hidden: frozenset[EnvironmentKey] = frozenset()
    ) -> Target:
        name = several_text(environments, self.state.ambiguous_names)
        hidden = hidden.intersection(tracked.key for tracked in environments)
        if not hidden:
            return Target(environments, name)
        count = "" if len(environments) == 1 else f"{len(hidden):,} "
        return Target(environments, f"{name} ({count}hidden by the filter)", hidden=hidden)

    def part_of(self, target: Target, environments: Sequence[TrackedEnvironment]) -> Target:
        if len(environments) == len(target.environments):
            return target._replace(environments=environments)
        return self.target_of(environments, target.hidden)

    @property
    def under_cursor(self) -> Target:
        header, tracked, incident = self.table.header, self.table.cursor, self.table.incident
        if incident is not None and incident.blindness is not None:
            return Target((), losses_text([incident.blindness]), blindness=incident.blindness)
        if incident is not None:
            target = self.target_of(incident.members)._replace(was_lost=True, shared=incident.shared)
            if len(incident.members) == 1:
                return target
            outside = len(self.table.row_cursor.outside(incident.members))
            others = f" ({outside:,} outside the filter)" if outside else ""
            return target._replace(name=line_names_text(incident, self.state.ambiguous_names, NAME_CELLS) + others)
        if header is not None:
            return self.target_of(header.environments)
        return Target((), NO_ENVIRONMENT) if tracked is None else self.target_of([tracked])

    def is_unwell(self, tracked: TrackedEnvironment) -> bool:
        """Whether an environment, even if acknowledged, is a problem, long lost, or gone with an open incident."""
        if tracked.is_unhealthy or is_problem(tracked, self.state.server_now(tracked.profile)):
            return True
        incidents = self.state.monitor.incidents
        return not tracked.verdict.is_up and any(tracked.key in each.remaining for each in incidents.open)

    def newest(self, target: Target) -> Target | None:
        """Return a target's newest state without recovered environments; None, with a message, if all recovered."""
        fleet = self.state.monitor.fleet
        pairs = [(before, fleet.tracked(before.key) or before) for before in target.environments]
        was_unwell = any(self.is_unwell(before) for before, _ in pairs)
        if was_unwell and not any(self.is_unwell(now) for _, now in pairs):
            self.show_message(f"recovered meanwhile: {target.name}")
            return None
        return self.part_of(target, [now for before, now in pairs if self.is_unwell(now) or not self.is_unwell(before)])

    def unmark(self, target: Target) -> None:
        """Remove the marks of a target and of absent environments."""
        acted_on = {tracked.key for tracked in target.environments}
        self.marked = frozenset(tracked.key for tracked in self.known(self.marked - acted_on))

    @property
    def as_of(self) -> str:
        """Suffix with the recorded moment, if any."""
        state = self.state
        if state.rewound is None:
            return ""
        return f", as of {moment_text(state.now.wall, state.present.wall, self.options.zone)}"

    def environment_list(self, rows: Sequence[TrackedEnvironment], state: MonitorState) -> EnvironmentList:
        from envwatch.views.output.environment_list import environment_list_of_rows

        return environment_list_of_rows(rows, state.monitor, self.view, state.now)

    def does_act(self) -> bool:
        """Whether keys may act on the present; shows a message if not."""
        rewound, is_past = self.state.rewound, self.state.rewound is not None or self.state.is_leaving
        if is_past:
            self.show_message(REPLAYED if rewound is not None and rewound.playing is not None else NOT_NOW)
        return not is_past

    def has_rows(self, target: Target, act: str) -> bool:
        """Whether a target has environments; shows a message if not."""
        if not target.environments:
            self.show_message(f"nothing to {act}: {target.name}")
        return bool(target.environments)

    def set_view(self, view: View) -> None:
        self.view = view
        self.query_one(NewsBar).message = NO_NOTICE
        self.refresh_bindings()

    def action_step(self, count: int) -> None:
        self.post_message(self.Wanted(Steps(count)))

    def action_event(self, count: int) -> None:
        self.post_message(self.Wanted(Steps(count, self._shows())))

    def action_live(self) -> None:
        self.post_message(self.Wanted(LIVE))

    def action_go_to_time(self) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        last, zone = datetime.fromtimestamp(self.state.last / 1000, UTC), self.options.zone

        def moment_in(text: str) -> WallMs | None:
            found = parse_past_moment(text, last, zone) if text.strip() else None
            return None if found is None else WallMs(found.timestamp() * 1000)

        def mistake_in(text: str) -> str:
            return state_style.mistake_text(text) if moment_in(text) is None else ""

        def go(answer: str) -> None:
            if (wall := moment_in(answer)) is not None:
                self.post_message(self.Wanted(AtTime(wall)))

        question = "Show the screen at this past time"
        prompt = Prompt(question, state_style.EXAMPLES, _LONGEST_MOMENT, enter="Go", mistake_in=mistake_in)
        self.ask(prompt, go)

    def _shows(self) -> Callable[[Event], bool]:
        view, state = self.view, self.state
        if not view.is_narrowed:
            return lambda _: True
        from envwatch.query.presentation import TIMELESS
        from envwatch.views.events.matching import EventFilter

        keys = {tracked.key for tracked in self.table.matching}
        query = view.query
        profile_name = next(iter(state.monitor.fleet)).profile_name
        context = TIMELESS._replace(judge=state.judge, profile=profile_name)
        event_filter = EventFilter(query, self.options.zone, context)

        def is_shown(event: Event) -> bool:
            singles = flatten([event])
            if any(single.id is None or (single.profile, single.id) in keys for single in singles):
                return True
            return bool(query) and any(event_filter.results(event))

        return is_shown
