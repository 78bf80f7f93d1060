"""What a command that envwatch starts for a row gets to know: variables, never words of its command line.

Pure. The values are cleaned text from strangers' machines; a command must quote them like any other input.
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
"""Never passed on; neither is the variable that a profile names for its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCommand:
    """A command of the user's own for the row under the cursor."""

    name: str
    key: str
    """In Textual's words."""
    run: tuple[str, ...]
    """The program and its arguments; no shell reads them."""
    description: str
    starts_listener: bool = False
    """Whether it starts the listener of a row that is down, so that the detail pane names its key."""

    @property
    def id(self) -> str:
        """The id of its binding."""
        return f"command.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """The user's own commands, and what they need beside a row."""

    commands: Mapping[str, RowCommand] = field(default_factory=dict)
    """By name."""
    secret_variables: frozenset[str] = frozenset()
    """Names of variables that hold an API key, or a secret of a hook; no command gets these variables."""
    profiles: Mapping[SafeText, str] = field(default_factory=dict)
    """Names of profiles by those that rows are marked with, which are empty if there is only one."""

    @property
    def start_key(self) -> SafeText:
        """The key that starts the listener of a row that is down; empty if no command does."""
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
"""Names of the variables; an envwatch that finds `ENVWATCH_ID` among its own takes none of them for a setting."""


EVENT_VARIABLES: Final = frozenset(
    f"ENVWATCH_{name}" for name in ("HOOK", "EVENT", "SUMMARY", "REASON", "INCIDENT", "COUNT", "TIME")
)
"""Names of the variables that a hook's command gets as well."""

NO_ROW: Final[Mapping[str, SafeText]] = MappingProxyType(dict.fromkeys(ROW_VARIABLES, EMPTY))
"""The variables of what is about several environments, or about none."""


def row_variables(row: ListedEnvironment, profile: str) -> dict[str, SafeText]:
    """Return the variables about a row that a profile lists. All are set; one without a value is empty."""
    values = {name: value_of(row) or EMPTY for name, value_of in _VALUES.items()}
    return values | {"ENVWATCH_PROFILE": composed(profile)}


def child_environment(
    environ: Mapping[str, str], variables: Mapping[str, str], secret_variables: Iterable[str]
) -> dict[str, str]:
    """Return the whole environment of a command: ours without the secrets, and the variables about a row."""
    hidden = {KEY_VARIABLE, *secret_variables}
    return {name: value for name, value in environ.items() if name not in hidden} | dict(variables)


def ending_text(code: int) -> str:
    """Return how a command ended: an exit status, or the number of a signal if negative."""
    if code == 0:
        return "done"
    return f"failed with exit status {code}" if code > 0 else f"ended by signal {-code}"
