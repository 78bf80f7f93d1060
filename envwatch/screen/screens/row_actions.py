"""Row actions, from the key to the decision."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.message import Message

from envwatch.model.acks import LONGEST_NOTE, clean_note, new_uuid
from envwatch.model.text import EMPTY, SafeText, clean, counted, enumerated, shortened
from envwatch.model.times import long_age
from envwatch.screen.screens.table_screen import TableScreen, Target
from envwatch.screen.state import Choice
from envwatch.screen.terminal.app import LONGEST_COPY, TerminalApp, add_binding
from envwatch.screen.widgets.footer import keyless_binding
from envwatch.views.command_context import NO_COMMANDS, child_environment, ending_text, row_variables
from envwatch.watch.acknowledging import (
    Answer,
    RowAnswer,
    Terms,
    acked_blindness,
    acks_here,
    answers_for,
    blindness_key,
    common_answer,
    ended_here,
    known_acks_here,
    server_key,
    shared_acks_of,
)
from envwatch.watch.deciding import (
    change_acks,
    change_shared_acks,
    decide_alerts,
    end_silences,
    share_acks,
    silence_rows,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from envwatch.alerts.acknowledgements import Acks, ServerKey
    from envwatch.alerts.incident import Incident
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.acks import Ack
    from envwatch.views.command_context import CommandSettings, RowCommand
    from envwatch.watch.loop import Watch


_PREVIEW: Final = 60
_MARGIN: Final = 4
"""A copy's answer must fit a line, because a cut answer is logged above losses."""

_NOTE_HINT: Final = "a note for the next reader; may be empty"

_LASTS: Final[Mapping[str, timedelta]] = {
    long_age(lasts): lasts
    for lasts in (timedelta(minutes=30), *(timedelta(hours=hours) for hours in (1, 2, 4, 8, 24, 72, 168)))
}

_WHERE: Final = {"for the team": True, "on this machine": False}

_END: Final = "end"
_NAMES: Final = 3
_WORDS: Final[Mapping[str, bool | None]] = {"always": True, "never": False, "by rule": None}
"""Answers of `A`; None withdraws a decision."""


class RowActions(TableScreen):
    """The keys that act on rows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "acknowledge", "Acknowledge a loss, or change the note", id="machine.acknowledge"),
        Binding("y", "copy_menu", "Copy …", id="machine.copy"),
        keyless_binding("copy_name", "Copy the name", "machine.copy_name"),
        Binding("M", "silence", "Silence for a time, or end a silence", show=False, id="machine.silence"),
        Binding("A", "alerts", "Override: page by rule, always or never", show=False, id="machine.alerts"),
        Binding("space", "mark_row", "Mark or unmark a machine for other keys", show=False, id="machine.mark"),
    ]

    _settings: CommandSettings = NO_COMMANDS
    _is_running: bool = False

    @dataclass
    class Decided(Message):
        """The user decides about rows."""

        act: Callable[[Watch, SafeText], str]
        """Applies the decision; returns an answer, which may be empty."""

    @dataclass
    class Shared(Message):
        """The user decides about rows at envwatch servers."""

        keys: Collection[EnvironmentKey]
        act: Callable[[Watch], Awaitable[str]]
        """Asks the servers; returns an answer."""

    def action_mark_row(self) -> None:
        under_cursor = self.under_cursor
        if not self.has_rows(under_cursor, "mark"):
            return
        keys = {tracked.key for tracked in under_cursor.environments}
        self.marked = self.marked - keys if keys <= self.marked else self.marked | keys
        self.table.action_move(1)
        count = len(self.marked)
        if not count:
            self.show_message("none marked")
            return
        act = "a, A, M, y and your commands act on" if self.state.rewound is None else "y copies"
        self.show_message(f"{count:,} marked: {act} {'it' if count == 1 else 'them'}; esc unmarks")

    def action_copy_name(self) -> None:
        if self.has_rows(target := self.target, "copy"):
            self._copy(_names_of(target))

    def action_copy_menu(self) -> None:
        self.copy(self.target)

    def copy(self, target: Target) -> None:
        if not self.has_rows(target, "copy"):
            return
        from envwatch.screen.screens.dialogs import CopyMenu
        from envwatch.views.output.formats import encode_row, listing_json
        from envwatch.views.pane.details import COPY_LETTERS, copies, gist_of
        from envwatch.views.report.chat import incident_sentence

        state, environments = self.state, self.environment_list(target.environments, self.state)
        sentence = incident_sentence(
            target.environments,
            state.monitor,
            state.now,
            self.options.zone,
            shared=target.shared,
            is_past=state.rewound is not None,
        )
        if is_single := len(target.environments) == 1:
            (only,) = target.environments
            own = copies(only)
            as_json = encode_row(environments)
        else:
            ids = "\n".join(tracked.environment.id for tracked in target.environments)
            own = {"name": _names_of(target), "id": ids}
            as_json = b"".join(listing_json(environments)).decode()
        labels = {label: label if is_single else f"{label}s" for label in own}
        texts = own | {"a sentence for a chat": sentence, "JSON": as_json}
        ordered = [label for label in dict.fromkeys((*COPY_LETTERS, *texts)) if label in texts]
        by_id = {COPY_LETTERS.get(label, label): texts[label] for label in ordered}

        def copy(id_: str) -> None:
            if menu.is_plain:
                from envwatch.screen.screens.plain_text import PlainText

                self.app.push_screen(PlainText(self._legible(by_id[id_])))
            else:
                self._copy(by_id[id_])

        choices = [
            Choice(
                id_,
                f"{COPY_LETTERS.get(label, ' ')}  {labels.get(label, label)}",
                shortened(clean(self._legible(gist_of(text))), _PREVIEW),
            )
            for label, (id_, text) in zip(ordered, by_id.items(), strict=True)
        ]
        menu = CopyMenu(f"Copy from {target.name}", choices)
        self.ask(menu, copy)

    def _legible(self, text: str) -> str:
        r"""Escape non-ASCII characters on ASCII terminals, as in `\u6771`."""
        return text.encode("ascii", "backslashreplace").decode() if self.options.glyphs.is_ascii else text

    def _copy(self, text: str) -> None:
        from envwatch.views.pane.details import gist_of

        self.app.copy_to_clipboard(text)
        cut = f" (the first {LONGEST_COPY:,} bytes)" if len(text.encode()) > LONGEST_COPY else ""
        gist = shortened(gist_of(text), max(self.size.width - _MARGIN, 1), ellipsis=self.options.glyphs.ellipsis)
        self.show_message(f"sent to the clipboard{cut}{self.as_of}: {gist}")

    def action_acknowledge(self) -> None:
        self.table.row_cursor.pin()
        self.acknowledge(self.target)

    def acknowledge(self, target: Target) -> None:
        if not self.does_act():
            return
        if target.blindness is not None:
            self._acknowledge_blindness(target.blindness, target.name)
            return
        answers = self._answers(target.environments)
        problems = [each.row for each in answers if each.answer is Answer.OPEN]
        acknowledged = [each.row for each in answers if each.ack is not None]
        if refused := self._refused(problems or acknowledged):
            from envwatch.views.output.alert_decisions import read_only_text

            server = self.state.monitor.fleet.server_of(refused[0].profile)
            self.show_message(read_only_text(server, "M"))
        elif problems:
            self._ask_for_note(self.part_of(target, problems), target)
        elif acknowledged:
            self._ask_for_change(self.part_of(target, acknowledged), target)
        elif self._is_up_again(target):
            self.show_message(f"nothing to acknowledge: {target.is_or_are} up again")
        elif answers and common_answer(answers) is Answer.LATE:
            self.show_message(f"nothing to acknowledge: {target.name} late, not lost; M silences a loss beforehand")
        else:
            self.show_message(f"nothing to acknowledge: {target.name}{', no loss' if answers else ''}")

    def _answers(self, rows: Iterable[TrackedEnvironment]) -> Sequence[RowAnswer]:
        return answers_for(rows, self.state.judge, self.state.servers)

    def _acknowledge_blindness(self, incident: Incident, name: str) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        if (ack := self.state.judge.blindness_ack_of(incident)) is not None:
            self._ask_for_change_of_blindness(incident, name, ack)
            return

        def acknowledge(answer: str) -> None:
            terms = Terms(clean_note(answer), _lasts_at(prompt.chosen))
            server = self.state.monitor.fleet.server_of(incident.profile)
            acks = acked_blindness(incident, server, terms, self.state.server_now(incident.profile), new_uuid())
            self.post_message(self.Decided(partial(change_acks, acks)))
            self.show_message(f"acknowledged on this machine: {name}")

        question = f"Acknowledge on this machine: {shortened(clean(name), _PREVIEW)}"
        others = [f"{question}, for {lasts}" for lasts in _LASTS]
        prompt = Prompt(f"{question}, until this ends", _NOTE_HINT, LONGEST_NOTE, others=others)
        self.ask(prompt, acknowledge)

    def _ask_for_change_of_blindness(self, incident: Incident, name: str, ack: Ack) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        key = blindness_key(self.state.monitor.fleet.server_of(incident.profile))

        def end() -> None:
            ended = ended_here({key: ack}, self.state.monitor.fleet, self.state.now.wall)
            self.post_message(self.Decided(partial(change_acks, ended)))
            self.show_message(f"no longer acknowledged: {name}")

        def change(answer: str) -> None:
            if self.state.judge.blindness_ack_of(incident) is None:
                self.show_message(f"over meanwhile: {name}")
            elif prompt.is_withdrawn:
                self._confirm_end(name, "on this machine", "a new incident opens", end)
            elif (note := clean_note(answer)) == ack.note:
                self.show_message(f"still acknowledged: {name}")
            else:
                self.post_message(self.Decided(partial(change_acks, {key: replace(ack, note=note)})))
                self.show_message(f"acknowledged with another note: {name}")

        question = f"{shortened(clean(name), _PREVIEW)}, acknowledged already: another note?"
        prompt = Prompt(question, "no note", LONGEST_NOTE, ack.note, may_withdraw=True)
        self.ask(prompt, change)

    def _is_up_again(self, target: Target) -> bool:
        is_up = all(tracked.verdict.is_up and not self.is_unwell(tracked) for tracked in target.environments)
        return target.was_lost and is_up and bool(target.environments)

    def _ask_for_note(self, problems: Target, whole: Target) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        def acknowledge(answer: str) -> None:
            if (still := self.newest(problems)) is None:
                return
            terms = Terms(clean_note(answer), _lasts_at(prompt.chosen))
            servers = self.state.servers
            shared = [row.key for row in still.environments if servers.keeps_ack_of(row)]
            own = [row for row in still.environments if not servers.keeps_ack_of(row)]
            if own:
                self._acknowledge_here(self.part_of(still, own), terms)
            if shared:
                self._pass_on_cursor_from(shared)
                self.post_message(self.Shared(shared, partial(share_acks, shared, terms)))
            self.unmark(whole)

        is_shared = {self.state.servers.keeps_ack_of(row) for row in problems.environments}
        where = " and ".join(words for words, which in _WHERE.items() if which in is_shared)
        recovery = "it recovers" if len(problems.environments) == 1 else "they recover"
        question = f"Acknowledge {where}: {problems.name}"
        others = [f"{question}, for {lasts}" for lasts in _LASTS]
        prompt = Prompt(f"{question}, until {recovery}", _NOTE_HINT, LONGEST_NOTE, others=others)
        self.ask(prompt, acknowledge)

    def _acknowledge_here(self, own: Target, terms: Terms) -> None:
        from envwatch.views.report.chat import acknowledged_text

        monitor, now = self.state.monitor, self.state.now
        acks = acks_here(own.environments, terms, monitor.fleet, now.wall, new_uuid())
        keys = {row.key for row in own.environments}
        self._change_acks(acks)
        self.show_message(acknowledged_text(own.name, keys, monitor.with_acks(acks), now, terms.lasts))

    def may_acknowledge(self, target: Target) -> bool:
        """Whether the tokens of a target's profiles may acknowledge all its rows."""
        return not self._refused(target.environments)

    def _refused(self, rows: Iterable[TrackedEnvironment]) -> Sequence[TrackedEnvironment]:
        """Return the rows whose server keeps the acknowledgement, with a token that only reads."""
        refused = [row for row in rows if self.state.servers.refuses(row)]
        return [row for row in refused if not self._acks_of([row])]

    def _ask_for_change(self, acknowledged: Target, whole: Target) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        acks = self._acks_in_force(acknowledged.environments).values()
        notes = {ack.note for ack in acks}
        note = notes.pop() if len(notes) == 1 else EMPTY

        def change(answer: str) -> None:
            in_force = self._acks_in_force(acknowledged.environments)
            still_acked = [each for each in acknowledged.environments if each.key in in_force]
            if not still_acked:
                self.show_message(f"recovered meanwhile: {acknowledged.name}")
                return
            still = self.part_of(acknowledged, still_acked)
            if prompt.is_withdrawn:
                self._ask_for_end(still, whole)
                return
            if (new_note := clean_note(answer)) == note:
                self.show_message(f"still acknowledged: {still.name}")
            else:
                self._change_notes(still, new_note)
            self.unmark(whole)

        hint = "another note for all; empty keeps each note" if notes else "no note"
        people = sorted({ack.by for ack in acks if ack.by})
        who = f"acknowledged by {enumerated(people[:_NAMES], len(people))}" if people else "acknowledged already"
        question = f"{acknowledged.name}, {who}: another note?"
        prompt = Prompt(question, hint, LONGEST_NOTE, note, may_withdraw=True, is_replaced=bool(people))
        self.ask(prompt, change)

    def _acks_in_force(self, rows: Iterable[TrackedEnvironment]) -> Mapping[EnvironmentKey, Ack]:
        monitor = self.state.monitor
        newest = (monitor.fleet.tracked(row.key) or row for row in rows)
        return {each.row.key: each.ack for each in self._answers(newest) if each.ack is not None}

    def _change_notes(self, acknowledged: Target, note: SafeText) -> None:
        own = self._acks_of(acknowledged.environments)
        if own:
            self._change_acks({key: replace(ack, note=note) for key, ack in own.items()})
            self.show_message(f"acknowledged with another note: {acknowledged.name}")
        self._change_shared(acknowledged, note)

    def _change_shared(self, acknowledged: Target, note: SafeText | None) -> None:
        """Change the notes of the team's acknowledgements, or end them if `note` is None."""
        theirs = self._theirs(acknowledged)
        if theirs:
            shared = shared_acks_of(theirs, self.state.monitor.fleet, self.state.now.wall)
            act = partial(change_shared_acks, shared.keys(), note)
            self.post_message(self.Shared({row.key for row in theirs}, act))

    def _theirs(self, acknowledged: Target) -> Sequence[TrackedEnvironment]:
        """Return the rows that a server's acknowledgement alone covers."""
        return [row for row in acknowledged.environments if not self._acks_of([row])]

    def _ask_for_end(self, acknowledged: Target, whole: Target) -> None:
        scope = "for the whole team" if self._theirs(acknowledged) else "on this machine"
        follows = "a new incident opens for what is still off"
        end, done = partial(self._end_acks, acknowledged), partial(self.unmark, whole)
        self._confirm_end(acknowledged.name, scope, follows, end, done)

    def _confirm_end(
        self, name: str, scope: str, follows: str, end: Callable[[], None], done: Callable[[], None] = lambda: None
    ) -> None:
        choices = [Choice("keep", "keep", "as it is"), Choice(_END, "end", f"{scope}: {follows}")]

        def take(choice: str) -> None:
            if choice == _END:
                end()
            else:
                self.show_message(f"still acknowledged: {name}")
            done()

        self.choose(f"End the acknowledgement {scope}: {name}?", choices, take)

    def _end_acks(self, acknowledged: Target) -> None:
        own = [row for row in acknowledged.environments if self._acks_of([row])]
        if own:
            self._change_acks(ended_here(self._acks_of(own), self.state.monitor.fleet, self.state.now.wall))
            self.show_message(f"no longer acknowledged: {self.part_of(acknowledged, own).name}")
        self._change_shared(acknowledged, None)

    def _pass_on_cursor_from(self, acted_on: Iterable[EnvironmentKey]) -> None:
        if keys := {row.key for row in self.under_cursor.environments}.intersection(acted_on):
            self.table.pass_on_cursor_from(frozenset(keys))

    def _change_acks(self, changes: Mapping[ServerKey, Ack | None]) -> None:
        monitor = self.state.monitor
        rows = [each for each in self.under_cursor.environments if not self.state.judge.is_acked(each)]
        self._pass_on_cursor_from(row.key for row in rows if server_key(row, monitor.fleet) in changes)
        self.post_message(self.Decided(partial(change_acks, changes)))

    def _acks_of(self, environments: Iterable[TrackedEnvironment]) -> Acks:
        return known_acks_here(environments, self.state.monitor.acks, self.state.monitor.fleet)

    def action_silence(self) -> None:
        self.table.row_cursor.pin()
        self.silence(self.target)

    def silence(self, target: Target) -> None:
        if not (self.does_act() and self.has_rows(target, "silence")):
            return
        if self._is_up_again(target):
            self.show_message(f"nothing to silence: {target.is_or_are} up again")
            return
        found = [self.state.judge.silenced(row) for row in target.environments]
        silences = {each.silence for each in found if each is not None}
        choices = [Choice(lasts, lasts) for lasts in _LASTS]
        if silences:
            choices.insert(0, Choice(_END, "end", counted(len(silences), "current silence")))

        def take(choice: str) -> None:
            if choice == _END:
                self.post_message(self.Decided(partial(end_silences, silences)))
                self.unmark(target)
            else:
                self._ask_why(target, _LASTS[choice])

        # `enter` must not end a silence that somebody wanted to lengthen.
        self.choose(f"Silence on this machine: {target.name}", choices, take, next(iter(_LASTS)))

    def _ask_why(self, target: Target, lasts: timedelta) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        def silence(answer: str) -> None:
            if (still := self.newest(target)) is not None:
                keys = [row.key for row in still.environments]
                act = partial(silence_rows, keys, lasts, clean_note(answer), hidden=len(still.hidden))
                self.post_message(self.Decided(act))
                self.unmark(target)

        question = f"Silence on this machine for {long_age(lasts)}: {target.name}"
        self.ask(Prompt(question, _NOTE_HINT, LONGEST_NOTE), silence)

    def action_alerts(self) -> None:
        self.table.row_cursor.pin()
        self.decide(self.target)

    def decide(self, target: Target) -> None:
        if not (self.does_act() and self.has_rows(target, "decide")):
            return
        from envwatch.views.output.alert_decisions import DecidedRow, decided_rows, decisions_text

        monitor, zone = self.state.monitor, self.options.zone
        rows = decided_rows(target.environments, monitor, self.state.now)
        by_rule = [DecidedRow(row, self.state.judge.decision_by_rule(row)) for row in target.environments]
        said = {None if row.decision.word is None else row.decision.word.is_always for row in rows}
        current = next((word for word, value in _WORDS.items() if {value} == said), "")
        notes = (
            "a loss pages, whatever the rules say",
            "a loss does not page",
            decisions_text(by_rule, zone),
        )
        choices = [Choice(word, word, note) for word, note in zip(_WORDS, notes, strict=True)]
        title = f"{target.name}: {decisions_text(rows, zone)}"

        def take(choice: str) -> None:
            keys = [row.key for row in target.environments]
            self.post_message(self.Decided(partial(decide_alerts, keys, zone, is_always=_WORDS[choice])))
            self.unmark(target)

        self.choose(title, choices, take, current)

    def bind_commands(self, settings: CommandSettings) -> None:
        self._settings = settings
        for name, command in settings.commands.items():
            action = f"run_command('{name}')"
            add_binding(self, Binding(command.key, action, command.description, show=False, id=command.id))

    def action_run_command(self, name: str) -> None:
        # A second press before the command takes the terminal has no effect.
        if self._is_running or not self.does_act():
            return
        self.table.row_cursor.pin()
        command, target = self._settings.commands[name], self.target
        if not target.environments:
            self.show_message(f"{name}: {target.name}")
        elif len(target.environments) == 1:
            self._start_command(command, target)
        else:

            def start(_: str) -> None:
                if (still := self.newest(target)) is not None:
                    self._start_command(command, still)

            choices = [Choice("run", "run", "run on each in turn, and stop at a failure")]
            self.choose(f"{name} on {target.name}", choices, start)

    def _start_command(self, command: RowCommand, target: Target) -> None:
        self._is_running = True
        self.app.run_worker(self._run_command(command, target))

    async def _run_command(self, command: RowCommand, target: Target) -> None:
        try:
            self.show_message(f"{command.name}: {await self._ending(command, target)}")
        finally:
            self._is_running = False

    async def _ending(self, command: RowCommand, target: Target) -> str:
        app = cast("TerminalApp", self.app)
        for number, tracked in enumerate(target.environments, 1):
            environ = self._environ(self.state.monitor.fleet.tracked(tracked.key) or tracked)
            left = len(target.environments) - number
            rest = f"; not run on {left:,} more" if left else ""
            try:
                code = await app.run_in_foreground(command.run, environ, partial(_has_output_to_read, command, left))
            except SuspendNotSupported:
                return "needs a terminal"
            except OSError as error:
                return f"cannot run {clean(command.run[0])}: {error.strerror}"
            if code:
                return f"{ending_text(code)}, with {tracked.environment.label}{rest}"
        return f"{ending_text(0)}, with {target.name}"

    def _environ(self, tracked: TrackedEnvironment) -> Mapping[str, str]:
        from envwatch.views.output.environment_list import ListedEnvironment

        settings, state = self._settings, self.state
        is_unknown = state.monitor.fleet.for_environment(tracked).is_unknown(tracked, state.now)
        row = ListedEnvironment(tracked, state.server_now(tracked.profile), is_unknown)
        variables: dict[str, str] = {**row_variables(row, settings.profiles.get(tracked.profile, ""))}
        if cast("TerminalApp", self.app).is_colourless:
            variables["NO_COLOR"] = "1"  # Textual removes the variable
        return child_environment(os.environ, variables, settings.secret_variables)


def _has_output_to_read(command: RowCommand, left: int, code: int) -> bool:
    """Whether the output stays on the terminal: after the last run, or a failure."""
    is_last = not left or code != 0
    return command.wait and is_last


def _lasts_at(chosen: int) -> timedelta | None:
    """Return the duration of a prompt's question; the first question is about no duration."""
    return [None, *_LASTS.values()][chosen]


def _names_of(target: Target) -> str:
    return "\n".join(tracked.environment.label for tracked in target.environments)
