"""The user's own commands for the row under the cursor: the dashboard leaves the terminal to them and comes back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from textual.app import SuspendNotSupported
from textual.binding import Binding

from envwatch.model.text import clean
from envwatch.tui.screens.table_screen import TableScreen
from envwatch.tui.terminal.textual_internals import add_binding
from envwatch.views.command_context import NO_COMMANDS, child_environment, ending_text, row_variables
from envwatch.views.environment_list import ListedEnvironment

if TYPE_CHECKING:
    from envwatch.tui.terminal.app import TerminalApp
    from envwatch.views.command_context import CommandSettings, RowCommand


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
        """Run a command on the row under the cursor, as it is now."""
        # Of a key that was typed twice before the terminal was left, the second has no effect.
        if not self._is_running and self.does_act() and (tracked := self.selected()) is not None:
            self.table.pin_cursor()
            profile_state, now = self.state.fleet.for_environment(tracked), self.state.now
            row = ListedEnvironment(
                tracked, profile_state.clock.server_time(now.wall), profile_state.is_unknown(tracked, now)
            )
            self._is_running = True
            self.app.run_worker(self._run(self._settings.commands[name], row))

    async def _run(self, command: RowCommand, row: ListedEnvironment) -> None:
        app, settings = cast("TerminalApp", self.app), self._settings
        variables: dict[str, str] = {**row_variables(row, settings.profiles.get(row.tracked.profile, ""))}
        if app.is_colourless:
            variables["NO_COLOR"] = "1"  # Textual takes it out of our own
        environ = child_environment(os.environ, variables, settings.secret_variables)
        try:
            code = await app.run_in_foreground(command.run, environ)
        except SuspendNotSupported:
            self.show_message(f"{command.name}: needs a terminal")
        except OSError as error:
            self.show_message(f"{command.name}: cannot run {clean(command.run[0])}: {error.strerror}")
        else:
            self.show_message(f"{command.name}: {ending_text(code)}, with {row.tracked.environment.label}")
        finally:
            self._is_running = False
