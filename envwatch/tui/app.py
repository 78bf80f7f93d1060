"""The app: one worker that takes in outcomes, one clock, and what works on every screen.

Owns the life of what is known, and nothing of its rules: `Fleets.after` makes what follows, the screens draw it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

from textual import on
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from envwatch.fleet.acknowledgements import NO_ACKS
from envwatch.fleet.alerts import ring_text
from envwatch.fleet.event_log import EventLog
from envwatch.fleet.fleets import Fleets
from envwatch.fleet.monitor import Monitor
from envwatch.model import limits
from envwatch.model.text import clean
from envwatch.model.times import TimeStyle
from envwatch.query.language import parse
from envwatch.sources.poller import read_clocks
from envwatch.tui.glyphs import ASCII, UNICODE, Glyphs
from envwatch.tui.poll_control import POLLING_KEYS, PollControl
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.event_log import EventLogScreen
from envwatch.tui.screens.explain import ExplainScreen
from envwatch.tui.screens.help import HelpScreen, helps, helps_here
from envwatch.tui.screens.menu import Choice, Menu
from envwatch.tui.screens.row_actions import RowActions
from envwatch.tui.terminal.app import TerminalApp
from envwatch.tui.terminal.escape_codes import clipboard_sequence, notification_sequence
from envwatch.tui.terminal.textual_internals import forget_detached_watchers
from envwatch.tui.themes import STATE_COLOURS, THEMES, in_menu_order, without_colours
from envwatch.tui.widgets.news_bar import NO_NOTICE
from envwatch.views.table_view import View, ambiguous_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from textual.command import Provider
    from textual.screen import Screen

    from envwatch.fleet.acknowledgements import Ack, Acks
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.clock import Reading
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import Clean
    from envwatch.sources.poller import PollSchedule
    from envwatch.sources.targets import Target

_NO_KEYMAP: Final[Mapping[str, str]] = MappingProxyType({})

_FUNCTION_KEY: Final = re.compile("f[0-9]+")

_YIELD: Final = 0.001
"""Seconds between judging a listing and drawing it, for the keys that came while a large one was judged."""

ScreenT = TypeVar("ScreenT", bound="Screen[Any]")

_PACKAGE = Path(__file__).resolve().parent.parent


def ignore(*_: object, **__: object) -> None:
    """Remember nothing."""


def stylesheet() -> Path:
    """Return the stylesheet: the package's copy in an installed envwatch, the repository's in a checkout."""
    packaged = _PACKAGE / "styles.tcss"
    return packaged if packaged.exists() else _PACKAGE.parent / "styles.tcss"


def _commands() -> type[Provider]:
    """Return what the palette offers; it is imported when it is first opened, not while somebody waits for data."""
    from envwatch.tui.screens.command_palette import Commands  # noqa: PLC0415

    return Commands


class EnvwatchApp(TerminalApp):
    """envwatch in a terminal.

    Args:
        targets: what is polled, by profile (`NO_PROFILE` if there is one); pauses, intervals and the wish to poll now
            go to their pollers.
        outcomes: what the polls give, from the first on, each with its profile.
        theme: name of the first theme; envwatch's own if it is not to be had.
        sort: id of the column to sort by at first; None for problems first.
        export: writes an export, with a suffix such as `.json`, and returns where it is.
        filter_text: a query to start with.
        keymap: keys of the user's own, by the ids of bindings.
        keep: told by name what is worth remembering for the next run.
        acks: problems that were acknowledged before.
        keep_acks: told what becomes of those.
        notices: what else a person should know, one line each, as it comes.
        rings: whether the bell is on at first.
        notify: which desktop notification goes with it.
        ascii_only: whether the terminal shows nothing but ASCII.
        clocks: this machine's.
    """

    CSS_PATH = stylesheet()
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (40, "-narrow"), (120, "-wide")]  # noqa: RUF012  as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (8, "-short"), (40, "-tall")]  # noqa: RUF012
    COMMANDS = {_commands}  # noqa: RUF012  as Textual declares it
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "events", "Events", id="app.events"),
        Binding("E", "explain", "Explain", id="row.explain"),
        *POLLING_KEYS,
        Binding("B", "switch_bell", "Bell on or off", show=False, id="app.bell"),
        Binding("t", "times", "Times: relative, local, UTC", show=False, id="app.times"),
        Binding("colon,ctrl+p", "command_palette", "Palette", key_display=":", show=False, id="app.palette"),
        Binding("question_mark,f1", "help", "Help", key_display="?", id="app.help"),
        Binding("q", "leave(0)", "Quit", id="app.quit"),
        Binding("ctrl+c", "leave(130)", "Quit", show=False, priority=True, id="app.interrupt"),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True, id="app.suspend"),
    ]

    fleets: reactive[Fleets] = reactive(Fleets, init=False, repaint=False)
    """What is known."""
    ambiguous: reactive[frozenset[Clean]] = reactive(frozenset, repaint=False)
    """Names that do not tell environments apart, worked out once a listing for everybody who shows names."""
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    """This machine's clocks, read each second."""
    schedules: reactive[Mapping[Clean, PollSchedule]] = reactive(dict, repaint=False)
    """What the pollers do next, by profile."""
    pages: reactive[int] = reactive(0, repaint=False)
    """Pages read of the walks under way."""
    event_log: reactive[EventLog] = reactive(EventLog, init=False, repaint=False)
    """Events since the start."""
    acks: reactive[Acks] = reactive(dict, init=False, repaint=False)
    """Problems that are acknowledged, until they recover."""
    rings: reactive[bool] = reactive(default=False, repaint=False)
    """Whether the bell is on."""
    notice: reactive[tuple[str, float]] = reactive(NO_NOTICE, init=False, repaint=False)
    """The last notice, and the monotonic second at which it was given."""
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE)
    glyphs: reactive[Glyphs] = reactive(UNICODE)

    def __init__(  # noqa: PLR0913  all of them named, none of them optional wiring
        self,
        *,
        targets: Mapping[Clean, Target],
        outcomes: AsyncIterator[tuple[Clean, Outcome]],
        theme: str | None = None,
        sort: str | None = None,
        columns: tuple[str, ...] = (),
        filter_text: str = "",
        export: Callable[[bytes, str], Path],
        keymap: Mapping[str, str] = _NO_KEYMAP,
        keep: Callable[..., None] = ignore,
        acks: Acks = NO_ACKS,
        keep_acks: Callable[[Mapping[Clean, Ack | None]], None] = ignore,
        notices: asyncio.Queue[str] | None = None,
        rings: bool = False,
        notify: Literal["off", "osc9", "osc777"] = "off",
        ascii_only: bool = False,
        clocks: Callable[[], Reading] = read_clocks,
    ) -> None:
        super().__init__(ascii_only=ascii_only)
        for own in THEMES:
            self.register_theme(own)
        self.targets = targets
        self.poll_control = PollControl(targets)
        self._outcomes = outcomes
        self._clocks = clocks
        self._first_view = View(sort=sort, query=parse(filter_text), columns=columns)
        self._keep = keep
        self._keep_acks = keep_acks
        self._export = export
        self._notices = notices or asyncio.Queue()
        self._notify_by = notify
        self._monitor = Monitor.of({profile: target.limits for profile, target in targets.items()}, acks)
        self._names: Mapping[Clean, int] = {}
        self.theme = theme if theme in self.available_themes else THEMES[0].name
        self.set_keymap(keymap)
        self.set_reactive(EnvwatchApp.fleets, self._monitor.fleets)
        self.set_reactive(EnvwatchApp.now, clocks())
        self.set_reactive(EnvwatchApp.acks, acks)
        self.set_reactive(EnvwatchApp.rings, rings)
        self.read_schedules()
        self.set_reactive(EnvwatchApp.glyphs, ASCII if ascii_only else UNICODE)

    def get_default_screen(self) -> Screen[None]:
        """Return the dashboard."""
        cls = EnvwatchApp
        dashboard = self._fitted(Dashboard(watched=self._watched(), view=self._first_view))
        self.watch(dashboard, "view", self._keep_looks, init=False)
        dashboard.data_bind(cls.acks, cls.rings, cls.notice, cls.ambiguous)
        return dashboard.data_bind(cls.fleets, cls.now, cls.schedules, cls.pages, cls.event_log, cls.times, cls.glyphs)

    def _fitted(self, screen: ScreenT) -> ScreenT:
        """Return a new screen laid out for the terminal's size in its first frame; Textual does so from the second."""
        for length, breakpoints in (
            (self.size.width, self.HORIZONTAL_BREAKPOINTS),
            (self.size.height, self.VERTICAL_BREAKPOINTS),
        ):
            screen.add_class(max(each for each in breakpoints if each[0] <= length)[1])
        return screen

    def on_mount(self) -> None:
        """Start the clock and the worker."""
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep(theme=theme.name))
        self.set_interval(1, self._tick)
        self.run_worker(self._take_in(), exit_on_error=True)
        self.run_worker(self._pass_on_notices())

    def _find_ambiguous_names(self, fleets: Fleets) -> None:
        """Find the names that do not tell environments apart."""
        names = dict(Counter([tracked.environment.name for tracked in fleets.environments]))  # compares faster so
        if names != self._names:
            self._names = names
            self.ambiguous = ambiguous_names(names)

    def _keep_looks(self, before: View, view: View) -> None:
        if view.sort != before.sort:
            self._keep(sort=view.sort)
        if view.columns != before.columns:
            self._keep(columns=view.columns)

    async def _take_in(self) -> None:
        async for profile, outcome in self._outcomes:
            self.now = self._clocks()
            self.read_schedules()
            self._monitor, update = self._monitor.after(profile, outcome, self.now)
            if update.ended_acks:
                self._keep_acks(dict.fromkeys(update.ended_acks))
            await asyncio.sleep(_YIELD)
            self._find_ambiguous_names(self._monitor.fleets)
            await asyncio.sleep(_YIELD)
            self._publish()

    def _publish(self) -> None:
        """Hand the state down to whatever shows it."""
        self.fleets, self.acks, self.event_log = self._monitor.fleets, self._monitor.acks, self._monitor.event_log

    async def _pass_on_notices(self) -> None:
        while True:
            self.notice = (clean(await self._notices.get()), self._clocks().monotonic)

    def _tick(self) -> None:
        self.read_schedules()
        self.pages = sum(poller.pages_read for poller in self.poll_control.pollers)
        self.now = self._clocks()
        self._sound(self.now)
        forget_detached_watchers(self)

    def _sound(self, now: Reading) -> None:
        """Ring for the losses that have held for long enough, if the user wants to hear of them."""
        self._monitor, losses = self._monitor.due_alerts(now)
        if losses and self.rings:
            self.bell()
            if self._notify_by != "off":
                in_tmux = "TMUX" in os.environ
                self.send(notification_sequence(ring_text(losses), self._notify_by, in_tmux=in_tmux))

    @on(RowActions.ExportWanted)
    def _begin_to_export(self, message: RowActions.ExportWanted) -> None:
        self.run_worker(self._export_all(message.make, message.suffix, message.what))

    async def _export_all(self, make: Callable[[], bytes], suffix: str, what: str) -> None:
        self.dashboard.show_message(f"exporting {what}")
        try:
            path = await asyncio.to_thread(lambda: self._export(make(), suffix))
        except OSError as error:
            self.answer(f"cannot export here: {error.strerror}; start envwatch in a folder where you may write")
        else:
            self.dashboard.show_message(f"exported to {path.name}: {what}")

    @on(RowActions.Acknowledged)
    def _acknowledge(self, message: RowActions.Acknowledged) -> None:
        self._monitor = self._monitor.with_acks(message.changes)
        self.acks = self._monitor.acks
        self._keep_acks(message.changes)

    def read_schedules(self) -> None:
        """Read what the pollers do next; their intervals decide when a fleet counts as blind."""
        self.schedules = self.poll_control.schedules
        intervals = {profile: schedule.interval for profile, schedule in self.schedules.items()}
        self._monitor = self._monitor.with_intervals(intervals)
        self.fleets = self.fleets.with_interval(intervals)

    @property
    def dashboard(self) -> Dashboard:
        """The screen below all others."""
        return next(screen for screen in self.screen_stack if isinstance(screen, Dashboard))

    def _watched(self) -> str:
        """Return what is watched, for people: a profile and its host, or several profiles."""
        targets = list(self.targets.values())
        if len(targets) > 1:
            return ", ".join(target.profile for target in targets)
        return f"{targets[0].profile} {self.glyphs.separator} {targets[0].host}"

    def answer(self, text: str) -> None:
        """Answer a key in the dashboard's news line."""
        self.dashboard.show_message(text)

    def get_key_display(self, binding: Binding) -> str:
        """Return a key as it is shown, in ASCII where the terminal needs that."""
        if _FUNCTION_KEY.fullmatch(binding.key):
            return binding.key.upper()  # not as the other keys of its binding: one may be typed where it is not
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.glyphs.is_ascii else binding.key

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return the states' colours for themes that do not name their own."""
        return STATE_COLOURS

    def get_css_variables(self) -> dict[str, str]:
        """Return the theme's variables."""
        variables = super().get_css_variables()
        if self.is_colourless:
            self.theme_variables = variables = without_colours(variables)
        return variables

    def copy_to_clipboard(self, text: str) -> None:
        """Ask the terminal to take a text, through tmux as well."""
        self.send(clipboard_sequence(text, in_tmux="TMUX" in os.environ))

    def action_pause(self) -> None:
        """Pause polling, or resume it."""
        self._answer_poll_key(self.poll_control.toggle_pause())

    def action_refresh_now(self) -> None:
        """Poll now."""
        self._answer_poll_key(self.poll_control.refresh())

    def action_interval(self, step: int) -> None:
        """Poll less often (1) or more often (-1)."""
        self._answer_poll_key(self.poll_control.change_interval(step))

    def _answer_poll_key(self, text: str) -> None:
        self.read_schedules()
        self.answer(text)

    def action_change_theme(self) -> None:
        """Choose a theme."""
        names = in_menu_order(self.available_themes)
        choices = [Choice(name, name, "the one you see" if name == self.theme else "") for name in names]

        def take(name: str | None) -> None:
            self.theme = name or self.theme

        self.push_screen(Menu("Theme", choices, self.theme), take)

    def action_switch_bell(self) -> None:
        """Let the terminal's bell ring for losses, or not."""
        self.rings = not self.rings
        self._keep(bell=self.rings)
        told = f"rings when an environment has been down for {limits.BELL_HOLDS.total_seconds():.0f} s"
        self.answer(f"bell on: {told}" if self.rings else "bell off")

    def action_times(self) -> None:
        """Show instants the next way."""
        self.times = self.times.following
        self.answer(f"times: {self.times}")

    def action_events(self) -> None:
        """Open the log of events."""
        cls = EnvwatchApp
        log = EventLogScreen().data_bind(cls.fleets, cls.acks, cls.ambiguous, cls.event_log, cls.times, cls.glyphs)
        self.push_screen(log, self._go_to)

    def _go_to(self, key: EnvironmentKey | None) -> None:
        if key is not None:
            self.dashboard.select(key)

    def action_explain(self) -> None:
        """Show every rule that made the verdict on the environment under the cursor."""
        cls = EnvwatchApp
        if (tracked := self.dashboard.pointed_at()) is not None:
            self.push_screen(ExplainScreen(tracked.key).data_bind(cls.fleets, cls.now, cls.times))

    def action_help(self) -> None:
        """Show every key."""
        sections = helps((*self.dashboard.parts, self))
        if self.screen is not self.dashboard:
            sections = {"Here": helps_here(self.screen)} | sections
        self.push_screen(self._fitted(HelpScreen(sections, list(self.targets.values()))))

    def action_command_palette(self) -> None:
        """Open the palette; it is imported when it is first opened, not while somebody waits for data."""
        from envwatch.tui.screens.command_palette import Palette  # noqa: PLC0415

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_leave(self, code: int) -> None:
        """End the program."""
        self.exit(code, return_code=code)
