"""The variables that describe a row to a command.

The values come from machines of strangers, so they never become part of a command line, and a command must quote them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.query.presentation import PRESENTATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.wording.output.environment_list import ListedEnvironment

KEY_VARIABLE: Final = "LETTA_API_KEY"
"""This variable and the profiles' key variables are never passed on."""


class RowCommand(NamedTuple):
    """A user's command for the row under the cursor."""

    name: str
    # The docstrings of the fields that the configuration sets are the help.
    key: str
    """The key that runs the command on the dashboard."""
    run: tuple[str, ...]
    """The program and its arguments, without a shell and without substitution. Variables `ENVWATCH_*` have the row."""
    description: str = ""
    """The command's description in help and palette; by default, its name."""

    @property
    def id(self) -> str:
        """The id of the binding."""
        return f"command.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """The user's commands, and the variables to hide from them."""

    commands: Mapping[str, RowCommand] = field(default_factory=dict)
    secret_variables: frozenset[str] = frozenset()
    """Variables with an API key or a hook's secret."""
    profiles: Mapping[SafeText, str] = field(default_factory=dict)
    """The values of `ENVWATCH_PROFILE` by the rows' profile, empty if a single profile is watched."""


NO_COMMANDS: Final = CommandSettings()


_VALUES: Final = (
    "id name device connection listener state last_state pod user owner branch directory version mode os node profile"
)
"""Keys of `PRESENTATIONS`, and three own values."""

ROW_VARIABLES: Final = frozenset(f"ENVWATCH_{name.upper()}" for name in _VALUES.split())
"""If `ENVWATCH_ID` is set, these variables are no settings."""


EVENT_VARIABLES: Final = dict.fromkeys(
    f"ENVWATCH_{name}" for name in ("HOOK", "EVENT", "SUMMARY", "REASON", "INCIDENT", "COUNT", "TIME")
).keys()
"""Further variables for a hook's command: an ordered set."""

NO_ROW: Final[Mapping[str, SafeText]] = MappingProxyType(dict.fromkeys(ROW_VARIABLES, EMPTY))


def row_variables(row: ListedEnvironment, profile: str) -> dict[str, SafeText]:
    """Return a row's variables; a missing value is an empty text."""
    own = {"state": row.state, "last_state": clean(row.tracked.presence.value), "profile": composed(profile)}
    return {
        f"ENVWATCH_{name.upper()}": (own[name] if name in own else PRESENTATIONS[name].text(row.tracked)) or EMPTY
        for name in _VALUES.split()
    }


def child_environment(
    environ: Mapping[str, str], variables: Mapping[str, str], secret_variables: Iterable[str]
) -> dict[str, str]:
    """Return a command's environment: this process's variables without secrets, plus `variables`."""
    hidden = {KEY_VARIABLE, *secret_variables}
    return {name: value for name, value in environ.items() if name not in hidden} | dict(variables)


def ending_text(code: int) -> str:
    """Return a text about a command's end; a negative code is a signal."""
    if code < 0:
        return f"ended by signal {-code}"
    return f"failed with exit status {code}" if code else "done"
