"""Row actions, from the key to the decision."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta, tzinfo
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.message import Message

from envwatch.alerts.acknowledgements import Acks, ServerKey, ack_of, blindness_ack, ended_by_person, newest_sign_at
from envwatch.alerts.alert_policy import Word
from envwatch.alerts.silences import Silence, silence_of_environments
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import can_be_acked
from envwatch.model.acks import LONGEST_NOTE, ROWS_AT_ONCE, Ack, AckedLoss, AckedRow, AckRequest, new_uuid, note_of
from envwatch.model.outcome import SourceError
from envwatch.model.text import EMPTY, SafeText, clean, counted, enumerated, shortened
from envwatch.model.times import long_age
from envwatch.screen.screens.table_screen import TableScreen, Target
from envwatch.screen.state import Choice
from envwatch.screen.terminal.app import LONGEST_COPY, TerminalApp, add_binding
from envwatch.screen.widgets.footer import keyless_binding
from envwatch.watch.loop import Decisions, Watch
from envwatch.wording.command_context import NO_COMMANDS, child_environment, ending_text, row_variables
from envwatch.wording.table.block_text import several_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from envwatch.alerts.incident import Incident
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.letta.poller import Team
    from envwatch.wording.command_context import CommandSettings, RowCommand


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
        from envwatch.wording.output.formats import listing_json, row_json_of
        from envwatch.wording.pane.details import COPY_LETTERS, copies, gist_of
        from envwatch.wording.report.chat import incident_sentence

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
            as_json = row_json_of(environments)
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
        from envwatch.wording.pane.details import gist_of

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
        problems = [each for each in target.environments if self._is_open(each)]
        acknowledged = [each for each in target.environments if self.state.judge.is_acked(each)]
        if read := self._only_read(problems or acknowledged):
            from envwatch.wording.output.alert_decisions import read_only_text

            server = self.state.monitor.fleet.server_of(read[0].profile)
            self.show_message(read_only_text(server, "M"))
        elif problems:
            self._ask_for_note(self.part_of(target, problems), target)
        elif acknowledged:
            self._ask_for_change(self.part_of(target, acknowledged), target)
        elif self._is_up_again(target):
            self.show_message(f"nothing to acknowledge: {target.is_or_are} up again")
        elif any(each.presence is Presence.LATE for each in target.environments):
            self.show_message(f"nothing to acknowledge: {target.name} late, not lost; M silences a loss beforehand")
        else:
            self.show_message(f"nothing to acknowledge: {target.name}{', no loss' if target.environments else ''}")

    def _acknowledge_blindness(self, incident: Incident, name: str) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        if (ack := self.state.judge.blindness_ack_of(incident)) is not None:
            self._ask_for_change_of_blindness(incident, name, ack)
            return

        def acknowledge(answer: str) -> None:
            lasts = [None, *_LASTS.values()][prompt.chosen]
            ack = blindness_ack(self.state.server_now(incident.profile), note_of(answer), lasts, new_uuid())
            key = self.state.monitor.fleet.server_of(incident.profile), EMPTY
            self.post_message(self.Decided(partial(change_acks, {key: ack})))
            self.show_message(f"acknowledged on this machine: {name}")

        question = f"Acknowledge on this machine: {shortened(clean(name), _PREVIEW)}"
        others = [f"{question}, for {lasts}" for lasts in _LASTS]
        prompt = Prompt(f"{question}, until this ends", _NOTE_HINT, LONGEST_NOTE, others=others)
        self.ask(prompt, acknowledge)

    def _ask_for_change_of_blindness(self, incident: Incident, name: str, ack: Ack) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        def keep(changed: Ack) -> None:
            key = self.state.monitor.fleet.server_of(incident.profile), EMPTY
            self.post_message(self.Decided(partial(change_acks, {key: changed})))

        def end() -> None:
            keep(ended_by_person(ack, self.state.server_now(incident.profile)))
            self.show_message(f"no longer acknowledged: {name}")

        def change(answer: str) -> None:
            if self.state.judge.blindness_ack_of(incident) is None:
                self.show_message(f"over meanwhile: {name}")
            elif prompt.is_withdrawn:
                self._confirm_end(name, "on this machine", "a new incident opens", end)
            elif (note := note_of(answer)) == ack.note:
                self.show_message(f"still acknowledged: {name}")
            else:
                keep(replace(ack, note=note))
                self.show_message(f"acknowledged with another note: {name}")

        question = f"{shortened(clean(name), _PREVIEW)}, acknowledged already: another note?"
        prompt = Prompt(question, "no note", LONGEST_NOTE, ack.note, may_withdraw=True)
        self.ask(prompt, change)

    def _is_open(self, tracked: TrackedEnvironment) -> bool:
        monitor, at = self.state.monitor, self.state.server_now(tracked.profile)
        is_in_incident = any(tracked.key in each.remaining for each in monitor.incidents.open)
        return can_be_acked(tracked, at, is_in_incident=is_in_incident) and not self.state.judge.is_acked(tracked)

    def _is_up_again(self, target: Target) -> bool:
        is_up = all(tracked.verdict.is_up and not self.is_unwell(tracked) for tracked in target.environments)
        return target.was_lost and is_up and bool(target.environments)

    def _ask_for_note(self, problems: Target, whole: Target) -> None:
        from envwatch.screen.screens.dialogs import Prompt
        from envwatch.wording.report.chat import acknowledged_text

        def acknowledge(answer: str) -> None:
            if (still := self.newest(problems)) is None:
                return
            note, lasts = note_of(answer), [None, *_LASTS.values()][prompt.chosen]
            shared = [row for row in still.environments if self._is_shared(row)]
            own = [row for row in still.environments if not self._is_shared(row)]
            if own:
                state, uuid = self.state, new_uuid()
                made = [ack_of(each, state.server_now(each.profile), note, lasts, uuid) for each in own]
                acks = dict(zip(_server_keys(own, state.monitor), made, strict=True))
                keys, name = {each.key for each in own}, self.part_of(still, own).name
                self._change_acks(acks)
                self.show_message(acknowledged_text(name, keys, state.monitor.with_acks(acks), state.now, lasts))
            if shared:
                ids = [row.key for row in shared]
                self._pass_on_cursor_from(ids)
                self.post_message(self.Shared(ids, partial(share_acks, ids, note, lasts)))
            self.unmark(whole)

        is_shared = {self._is_shared(row) for row in problems.environments}
        where = " and ".join(words for words, which in _WHERE.items() if which in is_shared)
        recovery = "it recovers" if len(problems.environments) == 1 else "they recover"
        question = f"Acknowledge {where}: {problems.name}"
        others = [f"{question}, for {lasts}" for lasts in _LASTS]
        prompt = Prompt(f"{question}, until {recovery}", _NOTE_HINT, LONGEST_NOTE, others=others)
        self.ask(prompt, acknowledge)

    def _is_shared(self, tracked: TrackedEnvironment) -> bool:
        """Whether a server takes the acknowledgement; a server does not know this machine's `expect`."""
        return tracked.profile in self.state.teams and not tracked.verdict.is_missing

    def may_acknowledge(self, target: Target) -> bool:
        """Whether the tokens of a target's profiles may acknowledge all its rows."""
        return not self._only_read(target.environments)

    def _only_read(self, rows: Iterable[TrackedEnvironment]) -> Sequence[TrackedEnvironment]:
        """Return the rows whose server keeps the acknowledgement, with a token that only reads."""
        if not self.state.read_only:
            return ()
        read = (row for row in rows if row.profile in self.state.read_only and self._is_shared(row))
        return [row for row in read if not self._acks_of([row])]

    def _ask_for_change(self, acknowledged: Target, whole: Target) -> None:
        from envwatch.screen.screens.dialogs import Prompt

        acks = self._acks_in_force(acknowledged.environments)
        notes = {ack.note for ack in acks.values()}
        note = notes.pop() if len(notes) == 1 else EMPTY

        def change(answer: str) -> None:
            still_acked = [each for each in acknowledged.environments if each.key in self._acks_in_force([each])]
            if not still_acked:
                self.show_message(f"recovered meanwhile: {acknowledged.name}")
                return
            still = self.part_of(acknowledged, still_acked)
            if prompt.is_withdrawn:
                self._ask_for_end(still, whole)
                return
            if (new_note := note_of(answer)) == note:
                self.show_message(f"still acknowledged: {still.name}")
            else:
                self._change_notes(still, new_note)
            self.unmark(whole)

        hint = "another note for all; empty keeps each note" if notes else "no note"
        people = sorted({ack.by for ack in acks.values() if ack.by})
        who = f"acknowledged by {enumerated(people[:_NAMES], len(people))}" if people else "acknowledged already"
        question = f"{acknowledged.name}, {who}: another note?"
        prompt = Prompt(question, hint, LONGEST_NOTE, note, may_withdraw=True, is_replaced=bool(people))
        self.ask(prompt, change)

    def _acks_in_force(self, rows: Iterable[TrackedEnvironment]) -> Mapping[EnvironmentKey, Ack]:
        monitor = self.state.monitor
        newest = (monitor.fleet.tracked(row.key) or row for row in rows)
        return {row.key: ack for row in newest if (ack := self.state.judge.ack_of(row)) is not None}

    def _change_notes(self, acknowledged: Target, note: SafeText) -> None:
        own = self._acks_of(acknowledged.environments)
        theirs = [each for each in acknowledged.environments if not self._acks_of([each])]
        if own:
            self._change_acks({key: replace(ack, note=note) for key, ack in own.items()})
            self.show_message(f"acknowledged with another note: {acknowledged.name}")
        if theirs:
            act = partial(change_shared_notes, self._uuids_of(theirs), note)
            self.post_message(self.Shared({row.key for row in theirs}, act))

    def _uuids_of(self, rows: Iterable[TrackedEnvironment]) -> Mapping[SafeText, Collection[SafeText]]:
        uuids: dict[SafeText, set[SafeText]] = {}
        for row in rows:
            if (ack := self.state.judge.ack_of(row)) is not None:
                uuids.setdefault(row.profile, set()).add(ack.uuid)
        return uuids

    def _ask_for_end(self, acknowledged: Target, whole: Target) -> None:
        theirs = [each for each in acknowledged.environments if not self._acks_of([each])]
        scope = "for the whole team" if theirs else "on this machine"
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
        own = [each for each in acknowledged.environments if self._acks_of([each])]
        theirs = [each for each in acknowledged.environments if not self._acks_of([each])]
        if own:
            acks = self._acks_of(own)
            keys = zip(own, _server_keys(own, self.state.monitor), strict=True)
            ended = {key: ended_by_person(acks[key], self.state.server_now(row.profile)) for row, key in keys}
            self._change_acks(ended)
            self.show_message(f"no longer acknowledged: {self.part_of(acknowledged, own).name}")
        if theirs:
            act = partial(end_shared_acks, self._uuids_of(theirs))
            self.post_message(self.Shared({row.key for row in theirs}, act))

    def _pass_on_cursor_from(self, acted_on: Iterable[EnvironmentKey]) -> None:
        if keys := {row.key for row in self.under_cursor.environments}.intersection(acted_on):
            self.table.pass_on_cursor_from(frozenset(keys))

    def _change_acks(self, changes: Mapping[ServerKey, Ack | None]) -> None:
        monitor = self.state.monitor
        rows = [each for each in self.under_cursor.environments if not self.state.judge.is_acked(each)]
        keys = zip(rows, _server_keys(rows, monitor), strict=True)
        self._pass_on_cursor_from(row.key for row, key in keys if key in changes)
        self.post_message(self.Decided(partial(change_acks, changes)))

    def _acks_of(self, environments: Iterable[TrackedEnvironment]) -> Acks:
        monitor = self.state.monitor
        return {key: monitor.acks[key] for key in _server_keys(environments, monitor) if key in monitor.acks}

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
                act = partial(silence_rows, keys, lasts, note_of(answer), hidden=len(still.hidden))
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
        from envwatch.wording.output.alert_decisions import DecidedRow, decided_rows, decisions_text

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
        from envwatch.wording.output.environment_list import ListedEnvironment

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


async def share_acks(keys: Iterable[EnvironmentKey], note: SafeText, lasts: timedelta | None, watch: Watch) -> str:
    """Acknowledge rows at envwatch servers; return an answer."""
    from envwatch.wording.report.chat import shared_acks_text

    answers: list[str] = []
    asked: list[TrackedEnvironment] = []
    answered: list[AckedRow] = []
    rows, seconds = _known(keys, watch), None if lasts is None else lasts.total_seconds()
    for profile, same in _parts(rows):
        target = watch.targets[profile]
        losses = tuple(AckedLoss(row.environment.id, newest_sign_at(row.environment)) for row in same)
        if target.team is None:
            answers.append(f"not acknowledged: {target.host} is no envwatch server now")
            continue
        uuid = new_uuid()
        try:
            answer = await target.team.acknowledge(uuid, AckRequest(losses, note, seconds))
        except SourceError as error:
            answers.append(f"not acknowledged: {error}")
            continue
        target.poller.refresh()
        asked += same
        answered += answer
    if asked:
        answers.insert(0, shared_acks_text(answered, asked, lasts))
    return "; ".join(dict.fromkeys(answers)) or "nothing to acknowledge: the machine has left the fleet"


def _parts(rows: Sequence[TrackedEnvironment]) -> Iterator[tuple[SafeText, Sequence[TrackedEnvironment]]]:
    for profile in dict.fromkeys(row.profile for row in rows):
        same = [row for row in rows if row.profile == profile]
        for start in range(0, len(same), ROWS_AT_ONCE):
            yield profile, same[start : start + ROWS_AT_ONCE]


async def end_shared_acks(uuids: Mapping[SafeText, Iterable[SafeText]], watch: Watch) -> str:
    """End acknowledgements at envwatch servers; return an answer."""
    return await _at_servers(uuids, watch, "ended", "no longer acknowledged", lambda team, uuid: team.end(uuid))


async def change_shared_notes(uuids: Mapping[SafeText, Iterable[SafeText]], note: SafeText, watch: Watch) -> str:
    """Change the notes of acknowledgements at envwatch servers; return an answer."""
    done = "acknowledged with another note for the team"
    return await _at_servers(uuids, watch, "changed", done, lambda team, uuid: team.change_note(uuid, note))


async def _at_servers(
    uuids: Mapping[SafeText, Iterable[SafeText]],
    watch: Watch,
    what: str,
    done: str,
    act: Callable[[Team, SafeText], Awaitable[None]],
) -> str:
    answers = []
    for profile, names in uuids.items():
        target = watch.targets[profile]
        for uuid in names:
            if not uuid or target.team is None:
                answers.append(f"not {what}: only a user of {target.host} can change what has no UUID")
                continue
            try:
                await act(target.team, uuid)
            except SourceError as error:
                answers.append(f"not {what}: {error}")
            else:
                target.poller.refresh()
                answers.append(done)
    return "; ".join(dict.fromkeys(answers))


def change_acks(changes: Mapping[ServerKey, Ack | None], watch: Watch, _user: SafeText) -> str:
    """Change acknowledgements; None withdraws an acknowledgement."""
    watch.decide(Decisions(acks=changes))
    return ""


def silence_rows(  # noqa: PLR0913  a silence, and who takes it
    keys: Iterable[EnvironmentKey], lasts: timedelta, note: SafeText, watch: Watch, user: SafeText, *, hidden: int = 0
) -> str:
    """Silence rows; return an answer. The filter hides `hidden` rows."""
    from envwatch.wording.output.alert_decisions import still_paging

    known = _known(keys, watch)
    tail = f" ({hidden:,} hidden by the filter)" if hidden else ""
    if not known:
        return f"nothing to silence: the machine has left the fleet{tail}"
    on_server = _server_keys(known, watch.monitor)
    silence = silence_of_environments(on_server, watch.clocks().wall, lasts, note, user)
    watch.decide(Decisions(silences={silence.id: silence}))
    recovered = " (it is up)" if len(known) == 1 and known[0].verdict.is_up else ""
    still = still_paging(known, watch.monitor.fleet.server_of)
    return f"silenced on this machine for {long_age(lasts)}: {several_text(known)}{recovered}{tail}{still}"


def end_silences(silences: Iterable[Silence], watch: Watch, user: SafeText) -> str:
    """End silences; return an answer."""
    at, current = watch.clocks().wall, watch.monitor.silences
    ended = {
        silence.id: silence.ended(at, user)
        for silence in silences
        if silence.hours is not None or (silence.id in current and current[silence.id].holds(at))
    }
    watch.decide(Decisions(silences=ended))
    return "no longer silenced" if ended else "the silence has ended already"


def decide_alerts(
    keys: Iterable[EnvironmentKey], zone: tzinfo | None, watch: Watch, user: SafeText, *, is_always: bool | None
) -> str:
    """Decide whether losses page; None leaves the decision to the rules."""
    from envwatch.wording.output.alert_decisions import answer_to_word, decided_rows

    known, now = _known(keys, watch), watch.clocks()
    if not known:
        return "nothing to decide: the machine has left the fleet"
    word = None if is_always is None else Word(is_always, now.wall, user)
    watch.decide(Decisions(words=dict.fromkeys(_server_keys(known, watch.monitor), word)))
    return answer_to_word(decided_rows(known, watch.monitor, now), "A", zone, watch.monitor.fleet.server_of)


def _known(keys: Iterable[EnvironmentKey], watch: Watch) -> list[TrackedEnvironment]:
    return [tracked for key in keys if (tracked := watch.monitor.fleet.tracked(key)) is not None]


def _server_keys(rows: Iterable[TrackedEnvironment], monitor: Monitor) -> list[ServerKey]:
    return [(monitor.fleet.server_of(row.profile), row.environment.id) for row in rows]


def _names_of(target: Target) -> str:
    return "\n".join(tracked.environment.label for tracked in target.environments)
