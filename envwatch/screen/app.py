"""The App: shows the watch's updates, and has the keys of every screen."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.reactive import Reactive

from envwatch.alerts.incident import ring_text
from envwatch.history.past import HistoryError
from envwatch.model import limits
from envwatch.model.text import SafeText, clean
from envwatch.model.times import TimeStyle, long_age, seconds_up
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.row_actions import RowActions
from envwatch.screen.screens.table_actions import TableActions
from envwatch.screen.screens.table_screen import PAST_KEYS, AtTime, TableScreen
from envwatch.screen.state import ASCII, NO_NOTICE, UNICODE, Choice, DisplayOptions, MonitorState, Notice, StateNode
from envwatch.screen.terminal.app import TerminalApp, forget_closed_widgets, forget_detached_watchers
from envwatch.screen.terminal.driver import has_shell
from envwatch.screen.themes import STATE_COLOURS, THEMES, in_menu_order, stylesheet, without_colours
from envwatch.screen.widgets.filter_bar import FilterHistory
from envwatch.screen.widgets.footer import KeyFooter, has_key, keyless_binding
from envwatch.screen.widgets.news_bar import NewsBar
from envwatch.views.events.event_text import unchanged_text
from envwatch.views.table.block_text import window_title
from envwatch.views.table.table_view import AmbiguousNames, View
from envwatch.watch.acknowledging import TeamServers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from textual.events import Key
    from textual.screen import Screen

    from envwatch.letta.poller import PolledProfile, Poller
    from envwatch.model.clock import Clocks
    from envwatch.screen.arguments import Inputs, Preferences
    from envwatch.screen.rewind.time_machine import RewindAnswer, TimeMachine
    from envwatch.watch.loop import MonitorUpdate

_FUNCTION_KEY: Final = re.compile("f[0-9]+")
_WITHOUT_EFFECT: Final = frozenset(
    {"scroll_left", "scroll_right", "page_left", "page_right", "app.focus_next", "app.focus_previous"}
)
"""Textual's actions that often change nothing, reported by `on_key`."""
GUESSED_KEYS: Final = {
    **dict.fromkeys(("s", "less_than_sign", "greater_than_sign"), ("sort.pick", "{} sorts")),
    **dict.fromkeys(("d", "tab"), ("machine.open", "{} opens the detail")),
    "f5": ("poll.now", "{} refreshes"),
    "l": ("app.events", "{} shows the events"),
    "ctrl+f": ("move.page_down", "{} goes a page down"),
    "ctrl+b": ("move.page_up", "{} goes a page up"),
}
"""Keys of other programs, with the intended binding's id and effect."""
MOVED_KEYS: Final = {
    "m": ("app.palette", "{}baseline marks it, [keys] binds baseline.mark"),
    "equals_sign": ("app.palette", "{}compare compares, [keys] binds baseline.compare"),
    "c": ("machine.copy", "{} n copies the name, [keys] binds machine.copy_name"),
    "5": ("find.filter", "{}flapping:yes finds what flaps"),
    "6": ("find.changed", "{} shows what changed"),
    **dict.fromkeys(PAST_KEYS.values(), ("history.event_back", "it steps through the past, {} goes there")),
}
"""Keys that earlier habits expect, answered once: a binding's id and where the command went."""
_INTERVALS: Final = [timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)]
_FRAME_S: Final = 0.2
_YIELD: Final = 0.001
_LARGE: Final = 1000
"""Listings of fewer environments take less than 5 ms and need no steps."""


class EnvwatchApp(TerminalApp, StateNode):
    """The dashboard in a terminal."""

    CSS_PATH = stylesheet()
    OWN_THEMES = THEMES
    ALLOW_SELECT = False  # the terminal selects: without motion reports, the App sees no drag
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (40, "-narrow"), (120, "-wide")]  # noqa: RUF012  as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (8, "-short"), (40, "-tall")]  # noqa: RUF012
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "events", "Events", id="app.events"),
        Binding("p", "pause", "Pause", id="poll.pause"),
        Binding("r", "refresh_now", "Refresh now", show=False, id="poll.now"),
        keyless_binding("interval(1)", "Poll less often", "poll.slower"),
        keyless_binding("interval(-1)", "Poll more often", "poll.faster"),
        keyless_binding("switch_bell", "Bell on or off", "app.bell"),
        keyless_binding("times", "Times: relative, local, UTC", "app.times"),
        keyless_binding("change_theme", "Theme …", "app.theme"),
        keyless_binding("handover", "Handover report of the last hours …", "app.handover"),
        Binding("colon,ctrl+p", "command_palette", "Palette", key_display=":", id="app.palette"),
        Binding("question_mark,f1", "help", "Help", key_display="?", id="app.help"),
        Binding("ctrl+c", "leave(130)", "Quit from any screen", show=False, priority=True, id="app.interrupt"),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False, priority=True, id="app.suspend"),
    ]

    theme: Reactive[str] = Reactive(THEMES[0].name)
    """Textual's reactive with another default: a later change would parse the stylesheet again."""

    def __init__(self, inputs: Inputs, preferences: Preferences) -> None:
        super().__init__(ascii_only=preferences.ascii_only, has_title=preferences.settings.title)
        self._inputs = inputs
        self._watch = inputs.watch
        self._preferences = preferences
        self._names = AmbiguousNames()
        self._present = self._current(MonitorState(now=self._watch.clocks()))
        self._began_at = self._present.now.wall
        self._begin_at = inputs.begin_at
        self._time_machine: TimeMachine | None = None
        self._left_to_tell = dict(MOVED_KEYS)
        settings = preferences.settings
        if settings.theme in self.available_themes:
            self.theme = settings.theme
        glyphs = ASCII if preferences.ascii_only else UNICODE
        options = DisplayOptions(settings, glyphs=glyphs)
        self.set_reactive(EnvwatchApp.options, options)
        self.set_reactive(EnvwatchApp.state, self._shown)
        self._bind_keys()

    @property
    def time_machine(self) -> TimeMachine:
        """The time machine, imported after the first frame except in a replay."""
        if self._time_machine is None:
            from envwatch.screen.rewind.time_machine import TimeMachine

            self._time_machine = TimeMachine(self._inputs, self._began_at, self._present)
        return self._time_machine

    @property
    def _shown(self) -> MonitorState:
        is_present = self._time_machine is None and self._inputs.replay is None
        return self._present if is_present else self.time_machine.shown(self._present)

    def get_default_screen(self) -> Screen[None]:
        first = self._preferences
        screen = Dashboard(
            watched=self._watched(),
            view=first.first_view,
            views=first.views,
            commands=first.commands,
            filters=FilterHistory(self._inputs.filters, self._inputs.keep),
        )
        dashboard = self.fitted(screen)
        self.watch(dashboard, "view", self._keep_view, init=False)
        return dashboard.data_bind(EnvwatchApp.state, EnvwatchApp.options)

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        if (old.rewound is None) is not (new.rewound is None):
            self._bind_keys()

    def _bind_keys(self) -> None:
        past = {} if self.state.rewound is None else PAST_KEYS
        self.set_keymap({**past, **self._preferences.keymap})

    def on_mount(self) -> None:
        self.watch(self, "state", self._show_title)
        self.run_worker(self._take_updates(), exit_on_error=True)
        self.run_worker(self._take_notices())
        self.run_worker(self._load_pasts())
        if self._inputs.replay is not None:
            self.call_after_refresh(lambda: self.run_worker(self._begin_replay()))
            self.set_interval(_FRAME_S, self._play)

    async def _take_updates(self) -> None:
        async with aclosing(self._watch):
            async for update in self._watch:
                await self.take(update)

    async def take(self, update: MonitorUpdate) -> None:
        """Show an update, or keep the update for the first frame."""
        profile, now = update.changes.profile, update.changes.now
        if profile is None:
            self._tick(now)
            return
        # After the frame, because the first call imports the time machine.
        self.call_after_refresh(lambda: self.time_machine.note(profile, update.monitor, now))
        is_large = len(update.monitor.fleet) >= _LARGE
        if is_large:
            await asyncio.sleep(_YIELD)
        ambiguous = self._names.among(update.monitor.fleet.environments)
        if is_large:
            await asyncio.sleep(_YIELD)
        self._keep(replace(self._present, now=now, ambiguous_names=ambiguous))
        if is_large and self.is_running:
            await asyncio.sleep(_YIELD)  # block, names and table each hold the loop
            self.dashboard.table.learn_names(update.monitor.fleet)
            await asyncio.sleep(_YIELD)
        self.republish()

    async def _take_notices(self) -> None:
        while True:
            self._warn(clean(await self._inputs.notices.get()))

    def _warn(self, text: SafeText) -> None:
        self._watch.note(text)
        self._publish(replace(self._present, notice=Notice(text, self._watch.clocks().monotonic)))

    async def _load_pasts(self) -> None:
        while True:
            self.run_worker(self._read_past(await self._inputs.readable.get()))

    async def _read_past(self, profile: SafeText) -> None:
        await self._load_past(profile)
        if self._begin_at is not None:
            goal, self._begin_at = AtTime(self._begin_at), None
            self._go(TableScreen.Wanted(goal))

    async def _load_past(self, profile: SafeText) -> None:
        try:
            runs, unchanged_for = await self.time_machine.reader.load(profile)
        except HistoryError as error:
            if self.state.notice is NO_NOTICE:  # a notice about failed recording says the same
                self._warn(clean(f"earlier events are missing: {error}"))
            return
        changes = await self._watch.seed(profile, runs.seeded)
        ambiguous = self._names.among(self._watch.monitor.fleet.environments)
        state = replace(self._present, ambiguous_names=ambiguous)
        if unchanged_for is not None and not changes:
            notice = Notice(unchanged_text(profile, unchanged_for), self._watch.clocks().monotonic, "plain")
            state = replace(state, notice=notice)
        self._publish(state)

    def _tick(self, now: Clocks) -> None:
        pages_read = sum(target.poller.pages_read for target in self._watch.targets.values())
        self._play()
        self._publish(replace(self._present, now=now, pages_read=pages_read))
        self._ring()
        forget_detached_watchers(self)
        forget_closed_widgets()

    def _publish(self, present: MonitorState) -> None:
        self._keep(present)
        self.state = self._shown

    def _keep(self, present: MonitorState) -> None:
        before, now = self._present, present.now
        self._present = self._current(present)
        is_due = now.wall >= before.block.changes_at or self._present.freshness != before.freshness
        if is_due or not self._present.has_rows_of(before):
            self._present = self._present.judged()

    def republish(self) -> None:
        """Publish the watch's changes."""
        self._publish(self._present)

    def _current(self, present: MonitorState) -> MonitorState:
        watch = self._watch
        schedules = {profile: target.poller.schedule for profile, target in watch.targets.items()}
        found = {profile: target.team for profile, target in watch.targets.items() if target.team is not None}
        read_only = [profile for profile, team in found.items() if not team.may_ack]
        return replace(
            present,
            monitor=watch.monitor,
            failing_hooks=watch.failing_hooks,
            schedules=schedules,
            servers=TeamServers(frozenset(found), frozenset(read_only)),
            new_keys_by={name: clean(each.new_key_by) for name, each in watch.targets.items() if each.new_key_by},
        )

    def _keep_view(self, old: View, new: View) -> None:
        if new.columns != old.columns:
            self._inputs.keep(columns=new.columns)

    def _ring(self) -> None:
        if self.state.rewound is not None:
            return
        settings = self.options.settings
        if (incidents := self._watch.due_alerts()) and settings.bell:
            self.ring(ring_text(incidents), settings.notify)

    def _show_title(self) -> None:
        state, watched = self.state, clean(self._watched()[0])
        past = "" if state.rewound is None else "REWOUND" if state.rewound.playing is None else "REPLAY"
        self.show_title(window_title(state.block, state.counts.flapping, watched, past, ascii_only=self.ascii_only))

    @on(NewsBar.Cut)
    def _log_message(self, message: NewsBar.Cut) -> None:
        self._watch.note(clean(message.text))
        self.republish()

    @on(TableActions.ExportRequested)
    def _start_export(self, message: TableActions.ExportRequested) -> None:
        self.run_worker(message.write(self._inputs.export, self.answer))

    @on(RowActions.Decided)
    def _decide(self, message: RowActions.Decided) -> None:
        text = message.act(self._watch, self._inputs.user)
        self.republish()
        if text:
            self.answer(text)

    @on(RowActions.Shared)
    def _share(self, message: RowActions.Shared) -> None:
        self.run_worker(self._shared(message), group="shared")

    async def _shared(self, message: RowActions.Shared) -> None:
        before, keys = self.state.acking, frozenset(message.keys)
        self._present = replace(self._present, acking=before | keys)
        self.republish()
        try:
            text = await message.act(self._watch)
        finally:
            self._present = replace(self._present, acking=self._present.acking - keys)
            self.republish()
        self.answer(text)

    @on(TableScreen.Wanted)
    def _go(self, message: TableScreen.Wanted) -> None:
        if (answer := self.time_machine.go(message.goal)) is not None:
            self._show(answer)
        self.run_worker(self._travel(), group="travels")

    async def _travel(self) -> None:
        async for answer in self.time_machine.travel(self.options.zone):
            self._show(answer)

    def _show(self, answer: RewindAnswer) -> None:
        self.republish()
        hidden = self.dashboard.show_rows(answer.rows) if answer.rows else ""
        if answer.text is not None:
            self.answer(" · ".join(filter(None, (answer.text, hidden))))

    async def _begin_replay(self) -> None:
        self._show(await self.time_machine.begin())
        self.run_worker(self._travel(), group="travels")

    def _play(self) -> None:
        if self._inputs.replay is not None and (goal := self.time_machine.reached(self._watch.clocks().monotonic)):
            self._go(TableScreen.Wanted(goal))

    @property
    def dashboard(self) -> Dashboard:
        return next(screen for screen in self.screen_stack if isinstance(screen, Dashboard))

    def _watched(self) -> tuple[str, str]:
        if (replay := self._inputs.replay) is not None:
            return f"{replay.name} {self.options.glyphs.separator} {replay.profile}", replay.host
        targets = list(self._watch.targets.values())
        return ", ".join(target.profile for target in targets), "" if len(targets) > 1 else targets[0].host

    def answer(self, text: str) -> None:
        self.dashboard.show_message(text, self._present.now)

    def get_key_display(self, binding: Binding) -> str:
        if not has_key(binding):
            return ""
        if _FUNCTION_KEY.fullmatch(binding.key):
            return binding.key.upper()  # the display is for the first key: `?` of `?,f1`
        display = super().get_key_display(binding)
        return display if display.isascii() or not self.options.glyphs.is_ascii else binding.key

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return STATE_COLOURS

    def get_css_variables(self) -> dict[str, str]:
        variables = super().get_css_variables()
        if self.is_colourless:
            self.theme_variables = variables = without_colours(variables)
        return variables

    def action_suspend_process(self) -> None:
        if has_shell():
            super().action_suspend_process()
        else:
            self.answer("cannot be suspended: no shell started it that could resume it")

    def action_pause(self) -> None:
        if self._inputs.replay is None:
            self._answer_poll_key(_toggle_pause)
        else:
            self._show(self.time_machine.pause())

    def action_refresh_now(self) -> None:
        self._answer_poll_key(_refresh)

    def action_interval(self, step: int) -> None:
        self._answer_poll_key(partial(self._change_interval, step))

    def _change_interval(self, step: int, targets: Mapping[SafeText, PolledProfile]) -> str:
        return self._take_intervals(lambda poller: _next_interval(step, poller), targets)

    def _take_intervals(self, choose: Callable[[Poller], timedelta], targets: Mapping[SafeText, PolledProfile]) -> str:
        for target in targets.values():
            target.poller.want_interval(choose(target.poller))
        self._watch.read_intervals()
        return _intervals_text(targets)

    def settings_to_choose(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the values of settings for the palette."""
        for theme in THEMES:
            yield f"Theme {theme.name}", partial(self._take_theme, theme.name)
        for interval in _INTERVALS:
            act = partial(self._take_intervals, partial(_same, interval))
            yield f"Interval {long_age(interval)}", partial(self._answer_poll_key, act)
        for times in TimeStyle:
            yield f"Times {times}", partial(self._take_times, times)
        for bell in (True, False):
            yield f"Bell {'on' if bell else 'off'}", partial(self._take_bell, bell=bell)

    def _answer_poll_key(self, act: Callable[[Mapping[SafeText, PolledProfile]], str]) -> None:
        text = self.time_machine.refuses_polling or act(self._watch.targets)
        self.republish()
        self.answer(text)

    def action_change_theme(self) -> None:
        from envwatch.screen.screens.dialogs import Menu

        names, before = in_menu_order(self.available_themes), self.theme
        choices = [Choice(name, name, "in use" if name == before else "") for name in names]

        def take(name: str | None) -> None:
            self.theme = before
            if name is not None:
                self._take_theme(name)

        self.push_screen(Menu("Theme", choices, before, partial(setattr, self, "theme")), take)

    def _take_theme(self, name: str) -> None:
        self.theme = name
        self._inputs.keep(theme=name)

    def action_handover(self) -> None:
        from envwatch.screen.screens.plain_text import HOURS, NO_HISTORY, SHIFT, HandoverScreen

        if not self._inputs.pasts:
            self.answer(NO_HISTORY)
            return

        def report(hours: str) -> None:
            self.push_screen(HandoverScreen(int(hours), self._inputs, self.state, self.options))

        self.dashboard.choose("Handover report of the last", HOURS, report, SHIFT)

    def action_switch_bell(self) -> None:
        self._take_bell(bell=not self.options.settings.bell)

    def _take_bell(self, *, bell: bool) -> None:
        self.options = self.options._replace(settings=replace(self.options.settings, bell=bell))
        self._inputs.keep(bell=bell)
        self.answer("bell on: rings when a machine stays down" if bell else "bell off")

    def action_times(self) -> None:
        self._take_times(self.options.times.following)

    def _take_times(self, times: TimeStyle) -> None:
        self.options = self.options._replace(times=times)
        self.answer(f"times: {self.options.times}")

    def action_events(self) -> None:
        from envwatch.screen.screens.event_log import EventLogScreen

        log = EventLogScreen(self.dashboard, self.dashboard.filters, self.dashboard.query_one(NewsBar).cut_text)
        self.dashboard.ask(log.data_bind(EnvwatchApp.state, EnvwatchApp.options), self.dashboard.select)

    def action_help(self) -> None:
        from envwatch.screen.screens.help import HelpScreen, help_on, help_sections

        nodes, glyphs = (*self.dashboard.nodes_with_keys, self), self.options.glyphs
        here = [] if self.focused is self.dashboard.table else help_on(self.screen)
        self.push_screen(self.fitted(HelpScreen(help_sections(nodes), here, self._watch.targets.values(), glyphs)))

    def action_command_palette(self) -> None:
        from envwatch.screen.screens.command_palette import Commands, Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette([Commands], id="--command-palette"))

    def on_key(self, event: Key) -> None:
        bound = self.screen.active_bindings.get(event.key)
        action = "" if bound is None else bound.binding.action
        moves_focus = "focus" in action and len(self.screen.focus_chain) > 1
        if moves_focus or (action and action not in _WITHOUT_EFFECT):
            return
        shown = event.character if event.is_printable and event.character else event.key
        text = f"{clean(shown).strip() or 'space'} does nothing here"
        if isinstance(self.screen, Dashboard):
            self.answer(f"{text}: {self._meant_by(event.key) or '? shows the keys'}")
        else:
            for footer in self.screen.query(KeyFooter):
                footer.say(f"{text}: ? shows the keys")

    def _meant_by(self, guessed: str) -> str:
        id_, effect = GUESSED_KEYS.get(guessed) or self._left_to_tell.pop(guessed, ("", ""))
        bindings = (each.binding for each in self.screen.active_bindings.values())
        meant = next((binding for binding in bindings if binding.id == id_ and has_key(binding)), None)
        return "" if meant is None else effect.format(self.get_key_display(meant))

    def action_leave(self, code: int) -> None:
        self.exit(code, return_code=code)


def _toggle_pause(targets: Mapping[SafeText, PolledProfile]) -> str:
    pollers = [target.poller for target in targets.values()]
    is_pause = not all(poller.schedule.is_paused for poller in pollers)
    for poller in pollers:
        poller.pause(paused=is_pause)
    return "paused: p goes on, r polls once" if is_pause else "polling again"


def _refresh(targets: Mapping[SafeText, PolledProfile]) -> str:
    delays = {profile: target.poller.refresh() for profile, target in targets.items()}
    forbidden = {profile: delay.left for profile, delay in delays.items() if delay and delay.is_forbidden}
    if forbidden:
        subject = f"{', '.join(forbidden)}: " if len(delays) > 1 else ""
        rest = "; polling the others" if len(forbidden) < len(delays) else ""
        return f"{subject}the server asked to wait: {_seconds_up(max(forbidden.values()))} left{rest}"
    longest = max((delay.left for delay in delays.values() if delay), default=timedelta())
    if longest > limits.FORCED_EVERY:
        return f"polling in {_seconds_up(longest)}: the request budget allows no sooner"
    return "polling now"


def _next_interval(step: int, poller: Poller) -> timedelta:
    wanted = poller.limits.interval
    if step > 0:
        return min((each for each in _INTERVALS if each > poller.interval), default=wanted)
    return max((each for each in _INTERVALS if each < wanted), default=wanted)


def _same(interval: timedelta, _: Poller) -> timedelta:
    return interval


def _intervals_text(targets: Mapping[SafeText, PolledProfile]) -> str:
    pollers = [target.poller for target in targets.values()]
    intervals = dict.fromkeys(_seconds_up(poller.interval) for poller in pollers)
    schedules = [poller.schedule for poller in pollers]
    took = max((each.took for each in schedules), default=timedelta())
    reason = f": a poll takes {_seconds_up(took)}" if took else ""
    if any(each.requests for each in schedules):
        reason = ": the request budget allows no more"
    return f"polling every {' and '.join(intervals)}{reason}"


def _seconds_up(duration: timedelta) -> str:
    return long_age(seconds_up(duration))
