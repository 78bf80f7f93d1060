"""The user's own commands for rows: the dashboard leaves the terminal to a command, and comes back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from textual.app import SuspendNotSupported
from textual.binding import Binding

from envwatch.model.text import clean
from envwatch.tui.screens.table_screen import TableScreen
from envwatch.tui.terminal.textual_internals import add_binding
from envwatch.views.output.command_context import NO_COMMANDS, child_environment, ending_text, row_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.tui.screens.table_screen import Target
    from envwatch.tui.terminal.app import TerminalApp
    from envwatch.views.output.command_context import CommandSettings, RowCommand


class RowCommands(TableScreen):
    """The keys that run the user's own commands."""

    _settings: CommandSettings = NO_COMMANDS
    _is_running: bool = False

    def bind_commands(self, settings: CommandSettings) -> None:
        self._settings = settings
        for name, command in settings.commands.items():
            action = f"run_command('{name}')"
            add_binding(self, Binding(command.key, action, command.description, show=False, id=command.id))

    def action_run_command(self, name: str) -> None:
        """Run a command on the environment under the cursor; ask before it runs on each of several."""
        # Of a key that was typed twice before the terminal was left, the second has no effect.
        if self._is_running or not self.does_act():
            return
        self.table.pin_cursor()
        command, target = self._settings.commands[name], self.target
        if not target.environments:
            self.show_message(f"{name}: {target.name}")
        elif len(target.environments) == 1:
            self._start(command, target)
        else:
            from envwatch.tui.screens.menu import Choice, Menu

            def start(choice: str | None) -> None:
                if choice is not None and (still := self.newest(target)) is not None:
                    self._start(command, still)

            choices = [Choice("run", "run", "on one after the other, until a run fails")]
            self.app.push_screen(Menu(f"{name} on {target.name}", choices), start)

    def _start(self, command: RowCommand, target: Target) -> None:
        self._is_running = True
        self.app.run_worker(self._run(command, target))

    async def _run(self, command: RowCommand, target: Target) -> None:
        try:
            self.show_message(f"{command.name}: {await self._ending(command, target)}")
        finally:
            self._is_running = False

    async def _ending(self, command: RowCommand, target: Target) -> str:
        """Run a command on each environment as it is then, and return how the last run ended."""
        app = cast("TerminalApp", self.app)
        for number, tracked in enumerate(target.environments, 1):
            environ = self._environ(self.state.monitor.fleet.tracked(tracked.key) or tracked)
            left = len(target.environments) - number
            rest = f"; not run on {left:,} more" if left else ""
            try:
                code = await app.run_in_foreground(command.run, environ)
            except SuspendNotSupported:
                return "needs a terminal"
            except OSError as error:
                return f"cannot run {clean(command.run[0])}: {error.strerror}"
            if code:
                return f"{ending_text(code)}, with {tracked.environment.label}{rest}"
        return f"{ending_text(0)}, with {target.name}"

    def _environ(self, tracked: TrackedEnvironment) -> Mapping[str, str]:
        """Return the variables of a command on an environment."""
        from envwatch.views.output.environment_list import ListedEnvironment

        settings, profile_state, now = self._settings, self.state.monitor.fleet.for_environment(tracked), self.state.now
        row = ListedEnvironment(
            tracked, profile_state.clock.server_time(now.wall), profile_state.is_unknown(tracked, now)
        )
        variables: dict[str, str] = {**row_variables(row, settings.profiles.get(tracked.profile, ""))}
        if cast("TerminalApp", self.app).is_colourless:
            variables["NO_COLOR"] = "1"  # Textual takes it out of our own
        return child_environment(os.environ, variables, settings.secret_variables)
