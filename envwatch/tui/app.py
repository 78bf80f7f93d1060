"""The App: one worker that takes outcomes, one clock, and the keys that work on every screen.

Owns the `MonitorState` and hands it down to the screens; the rules are `Monitor`'s, the drawing is theirs.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

from textual import on
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from envwatch.fleet.acknowledgements import NO_ACKS
from envwatch.fleet.alerts import ring_text
from envwatch.fleet.monitor import Monitor
from envwatch.model import limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.sources.poller import read_clocks
from envwatch.tui.glyphs import ASCII, UNICODE
from envwatch.tui.poll_control import POLLING_KEYS, PollControl
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.screens.event_log import EventLogScreen
from envwatch.tui.screens.explain import ExplainScreen
from envwatch.tui.screens.help import HelpScreen, help_on, help_sections
from envwatch.tui.screens.menu import Choice, Menu
from envwatch.tui.screens.row_actions import RowActions
from envwatch.tui.state import DisplayOptions, MonitorState, Notice
from envwatch.tui.terminal.app import TerminalApp
from envwatch.tui.terminal.escape_codes import clipboard_sequence, notification_sequence
from envwatch.tui.terminal.textual_internals import forget_detached_watchers
from envwatch.tui.themes import STATE_COLOURS, THEMES, in_menu_order, without_colours
from envwatch.views.table_view import View, ambiguous_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from textual.command import Provider
    from textual.screen import Screen

    from envwatch.fleet.acknowledgements import Ack, Acks
    from envwatch.fleet.fleets import Fleets
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.clock import Reading
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import Clean
    from envwatch.sources.session import Target

_NO_KEYMAP: Final[Mapping[str, str]] = MappingProxyType({})

_FUNCTION_KEY: Final = re.compile("f[0-9]+")

_YIELD: Final = 0.001
"""Seconds between the steps of taking a large listing, in which keys are handled."""

ScreenT = TypeVar("ScreenT", bound="Screen[Any]")

_PACKAGE = Path(__file__).resolve().parent.parent


def ignore(*_: object, **__: object) -> None:
    """Save nothing."""


def stylesheet() -> Path:
    """Return the stylesheet: the package's copy if installed, the repository's in a checkout."""
    packaged = _PACKAGE / "styles.tcss"
    return packaged if packaged.exists() else _PACKAGE.parent / "styles.tcss"


def _commands() -> type[Provider]:
    """Return the palette's commands; imported when it is first opened, as the start must be fast."""
    from envwatch.tui.screens.command_palette import Commands  # noqa: PLC0415

    return Commands


class EnvwatchApp(TerminalApp):
    """The dashboard in a terminal.

    Args:
        targets: what is polled, by profile (`NO_PROFILE` if there is only one).
        outcomes: what each poll gave, with its profile, from the first on.
        theme: name of the first theme; the default one if it does not exist.
        sort: id of the column to sort by at first; None for problems first.
        columns: ids of the columns; empty for those that fit the width.
        filter_text: the first query.
        export: writes a file with a suffix such as `.json` and returns its path.
        keymap: the user's own keys, by binding id, in Textual's form.
        keep: saves a setting for the next run, by keyword: `sort`, `columns`, `theme`, `bell`.
        acks: problems that were acknowledged in an earlier run.
        keep_acks: saves changed acknowledgements by environment id; None for one that ended.
        notices: lines for the news bar, one each.
        rings: whether the bell is on at first.
        notify: the desktop notification that goes with the bell.
        ascii_only: whether the terminal shows nothing but ASCII.
        clocks: reads this machine's clocks.
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

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    """What is known."""
    options: reactive[DisplayOptions] = reactive(DisplayOptions)
    """How it is displayed."""

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
        """The newest state; published to the screens as a part of `state`."""
        self._names: Mapping[Clean, int] = {}
        self.theme = theme if theme in self.available_themes else THEMES[0].name
        self.set_keymap(keymap)
        self.set_reactive(EnvwatchApp.options, DisplayOptions(rings=rings, glyphs=ASCII if ascii_only else UNICODE))
        self.set_reactive(EnvwatchApp.state, MonitorState(monitor=self._monitor, now=clocks()))
        self.read_schedules()

    def get_default_screen(self) -> Screen[None]:
        dashboard = self._fitted(Dashboard(watched=self._watched(), view=self._first_view))
        self.watch(dashboard, "view", self._keep_view, init=False)
        return dashboard.data_bind(EnvwatchApp.state, EnvwatchApp.options)

    def _fitted(self, screen: ScreenT) -> ScreenT:
        """Give a new screen the classes of the terminal's size for its first frame; Textual does so from the second."""
        for length, breakpoints in (
            (self.size.width, self.HORIZONTAL_BREAKPOINTS),
            (self.size.height, self.VERTICAL_BREAKPOINTS),
        ):
            screen.add_class(max(each for each in breakpoints if each[0] <= length)[1])
        return screen

    def on_mount(self) -> None:
        """Start the clock and the workers."""
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep(theme=theme.name))
        self.set_interval(1, self._tick)
        self.run_worker(self._take_outcomes(), exit_on_error=True)
        self.run_worker(self._take_notices())

    # State.

    async def _take_outcomes(self) -> None:
        async for profile, outcome in self._outcomes:
            now = self._clocks()
            self.read_schedules()
            self._monitor, update = self._monitor.after(profile, outcome, now)
            if update.ended_acks:
                self._keep_acks(dict.fromkeys(update.ended_acks))
            await asyncio.sleep(_YIELD)
            ambiguous = self._ambiguous_names(self._monitor.fleets)
            await asyncio.sleep(_YIELD)
            self._publish(replace(self.state, now=now, ambiguous_names=ambiguous))

    async def _take_notices(self) -> None:
        while True:
            text = clean(await self._notices.get())
            self._publish(replace(self.state, notice=Notice(text, self._clocks().monotonic)))

    def _tick(self) -> None:
        self.read_schedules()
        now = self._clocks()
        pages_read = sum(poller.pages_read for poller in self.poll_control.pollers)
        self._publish(replace(self.state, now=now, pages_read=pages_read))
        self._ring(now)
        forget_detached_watchers(self)

    def _publish(self, state: MonitorState) -> None:
        """Hand a state down to the screens, with the newest monitor in it."""
        self.state = replace(state, monitor=self._monitor)

    def read_schedules(self) -> None:
        """Publish what the pollers do next; their intervals decide when a fleet counts as blind."""
        schedules = self.poll_control.schedules
        self._monitor = self._monitor.with_intervals({profile: each.interval for profile, each in schedules.items()})
        if schedules != self.state.schedules:
            self._publish(replace(self.state, schedules=schedules))

    def _ambiguous_names(self, fleets: Fleets) -> frozenset[Clean]:
        names = dict(Counter([tracked.environment.name for tracked in fleets.environments]))  # compares faster so
        if names == self._names:
            return self.state.ambiguous_names
        self._names = names
        return ambiguous_names(names)

    # Saving, ringing, exporting.

    def _keep_view(self, old: View, new: View) -> None:
        if new.sort != old.sort:
            self._keep(sort=new.sort)
        if new.columns != old.columns:
            self._keep(columns=new.columns)

    def _ring(self, now: Reading) -> None:
        """Ring for losses that have lasted long enough, if the bell is on."""
        self._monitor, losses = self._monitor.due_alerts(now)
        if losses and self.options.rings:
            self.bell()
            if self._notify_by != "off":
                in_tmux = "TMUX" in os.environ
                self.send(notification_sequence(ring_text(losses), self._notify_by, in_tmux=in_tmux))

    @on(RowActions.ExportRequested)
    def _start_export(self, message: RowActions.ExportRequested) -> None:
        self.run_worker(self._export_to_file(message))

    async def _export_to_file(self, request: RowActions.ExportRequested) -> None:
        self.answer(f"exporting {request.what}")
        try:
            path = await asyncio.to_thread(lambda: self._export(request.make(), request.suffix))
        except OSError as error:
            self.answer(f"cannot export here: {error.strerror}; start envwatch in a folder where you may write")
        else:
            self.answer(f"exported to {path.name}: {request.what}")

    @on(RowActions.Acknowledged)
    def _acknowledge(self, message: RowActions.Acknowledged) -> None:
        self._monitor = self._monitor.with_acks(message.changes)
        self._publish(self.state)
        self._keep_acks(message.changes)

    # What others ask for.

    @property
    def dashboard(self) -> Dashboard:
        """The screen below all others."""
        return next(screen for screen in self.screen_stack if isinstance(screen, Dashboard))

    def _watched(self) -> str:
        """Return the profile and its host, or several profiles."""
        targets = list(self.targets.values())
        if len(targets) > 1:
            return ", ".join(target.profile for target in targets)
        return f"{targets[0].profile} {self.options.glyphs.separator} {targets[0].host}"

    def answer(self, text: str) -> None:
        """Answer a key in the dashboard's news bar."""
        self.dashboard.show_message(text)

    def get_key_display(self, binding: Binding) -> str:
        """Return a key's name for people, in ASCII where the terminal needs that."""
        if _FUNCTION_KEY.fullmatch(binding.key):
            return binding.key.upper()  # the binding's own display belongs to its first key: `?` of `?,f1`
        display = super().get_key_display(binding)
        return display if display.isascii() or not self.options.glyphs.is_ascii else binding.key

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

    # Keys.

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
        choices = [Choice(name, name, "in use" if name == self.theme else "") for name in names]

        def take(name: str | None) -> None:
            self.theme = name or self.theme

        self.push_screen(Menu("Theme", choices, self.theme), take)

    def action_switch_bell(self) -> None:
        rings = not self.options.rings
        self.options = replace(self.options, rings=rings)
        self._keep(bell=rings)
        delay = f"{limits.BELL_HOLDS.total_seconds():.0f} s"
        self.answer(f"bell on: rings when an environment has been down for {delay}" if rings else "bell off")

    def action_times(self) -> None:
        self.options = replace(self.options, times=self.options.times.following)
        self.answer(f"times: {self.options.times}")

    def action_events(self) -> None:
        """Open the event log; it returns the environment to go to."""

        def select(key: EnvironmentKey | None) -> None:
            if key is not None:
                self.dashboard.select(key)

        self.push_screen(EventLogScreen().data_bind(EnvwatchApp.state, EnvwatchApp.options), select)

    def action_explain(self) -> None:
        """Show every rule behind the verdict on the environment under the cursor."""
        if (tracked := self.dashboard.selected()) is not None:
            self.push_screen(ExplainScreen(tracked.key).data_bind(EnvwatchApp.state, EnvwatchApp.options))

    def action_help(self) -> None:
        sections = help_sections((*self.dashboard.nodes_with_keys, self))
        if self.screen is not self.dashboard:
            sections = {"Here": help_on(self.screen)} | sections
        self.push_screen(self._fitted(HelpScreen(sections, self.targets.values())))

    def action_command_palette(self) -> None:
        from envwatch.tui.screens.command_palette import Palette  # noqa: PLC0415  as in `_commands`

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_leave(self, code: int) -> None:
        """End the program with an exit code."""
        self.exit(code, return_code=code)
