"""The variables that describe a row to a command.

The values come from machines of strangers, so they never become part of a command line, and a command must quote them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from envwatch.model.modes import mode_of
from envwatch.model.text import EMPTY, SafeText, clean, composed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from envwatch.views.output.environment_list import ListedEnvironment

KEY_VARIABLE: Final = "LETTA_API_KEY"
"""This variable and the profiles' key variables are never passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCommand:
    """A user's command for the row under the cursor."""

    name: str
    key: str
    """A key in Textual's notation."""
    run: tuple[str, ...]
    """The arguments, run without a shell."""
    description: str
    starts_listener: bool = False
    """Whether the command starts a down row's listener."""

    @property
    def id(self) -> str:
        """The id of the binding."""
        return f"command.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """The user's commands, and the variables to hide from them."""

    commands: Mapping[str, RowCommand] = field(default_factory=dict)
    secret_variables: frozenset[str] = frozenset()
    """Variables with an API key or a hook's secret, hidden from commands."""
    profiles: Mapping[SafeText, str] = field(default_factory=dict)
    """The values of `ENVWATCH_PROFILE` by the rows' profile, empty if a single profile is watched."""

    @property
    def start_key(self) -> SafeText:
        """The key of the first command that starts a listener, or empty."""
        return next((clean(each.key) for each in self.commands.values() if each.starts_listener), EMPTY)


NO_COMMANDS: Final = CommandSettings()


_VALUES: Final[Mapping[str, Callable[[ListedEnvironment], SafeText | None]]] = {
    "ENVWATCH_ID": lambda row: row.tracked.environment.id,
    "ENVWATCH_NAME": lambda row: row.tracked.environment.name,
    "ENVWATCH_DEVICE": lambda row: row.tracked.environment.device_id,
    "ENVWATCH_CONNECTION": lambda row: row.tracked.environment.connection_id,
    "ENVWATCH_LISTENER": lambda row: row.tracked.environment.listener_instance_id,
    "ENVWATCH_STATE": lambda row: row.state,
    "ENVWATCH_LAST_STATE": lambda row: clean(row.tracked.presence.value),
    "ENVWATCH_POD": lambda row: row.tracked.pod_id,
    "ENVWATCH_USER": lambda row: row.tracked.environment.user_id,
    "ENVWATCH_OWNER": lambda row: row.tracked.environment.api_key_owner,
    "ENVWATCH_BRANCH": lambda row: row.tracked.environment.branch,
    "ENVWATCH_DIRECTORY": lambda row: row.tracked.environment.working_directory,
    "ENVWATCH_VERSION": lambda row: row.tracked.environment.version,
    "ENVWATCH_MODE": lambda row: mode_of(row.tracked.environment.mode),
    "ENVWATCH_OS": lambda row: row.tracked.environment.os,
    "ENVWATCH_NODE": lambda row: row.tracked.environment.node_version,
}

ROW_VARIABLES: Final = frozenset((*_VALUES, "ENVWATCH_PROFILE"))
"""If `ENVWATCH_ID` is set, these variables are no settings."""


EVENT_VARIABLES: Final = dict.fromkeys(
    f"ENVWATCH_{name}" for name in ("HOOK", "EVENT", "SUMMARY", "REASON", "INCIDENT", "COUNT", "TIME")
).keys()
"""Further variables for a hook's command: an ordered set."""

NO_ROW: Final[Mapping[str, SafeText]] = MappingProxyType(dict.fromkeys(ROW_VARIABLES, EMPTY))


def row_variables(row: ListedEnvironment, profile: str) -> dict[str, SafeText]:
    """Return a row's variables; a missing value is an empty text."""
    values = {name: value_of(row) or EMPTY for name, value_of in _VALUES.items()}
    return values | {"ENVWATCH_PROFILE": composed(profile)}


def child_environment(
    environ: Mapping[str, str], variables: Mapping[str, str], secret_variables: Iterable[str]
) -> dict[str, str]:
    """Return a command's environment: this process's variables without secrets, plus `variables`."""
    hidden = {KEY_VARIABLE, *secret_variables}
    return {name: value for name, value in environ.items() if name not in hidden} | dict(variables)


def ending_text(code: int) -> str:
    """Return a text about a command's end; a negative code is a signal."""
    if code == 0:
        return "done"
    return f"failed with exit status {code}" if code > 0 else f"ended by signal {-code}"
