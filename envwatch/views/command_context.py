"""The variables that describe a row to a command.

Values come from strangers' machines: no value becomes part of a command line, and commands must quote values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.query.presentation import PRESENTATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.views.output.environment_list import ListedEnvironment

KEY_VARIABLE: Final = "LETTA_API_KEY"


class RowCommand(NamedTuple):
    """A user's command for the row under the cursor."""

    name: str
    key: str
    run: tuple[str, ...]
    """The program and its arguments, without a shell."""
    description: str = ""
    wait: bool = True
    """Whether the output stays until enter is pressed."""

    @property
    def id(self) -> str:
        """The key binding's id."""
        return f"command.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """The user's commands and the hidden variables."""

    commands: Mapping[str, RowCommand] = field(default_factory=dict)
    secret_variables: frozenset[str] = frozenset()
    profiles: Mapping[SafeText, str] = field(default_factory=dict)
    """Value of `ENVWATCH_PROFILE` by a row's profile, which is empty for a single profile."""


NO_COMMANDS: Final = CommandSettings()


_VALUES: Final = (
    "id name device connection listener state last_state pod user owner branch directory version mode os node profile"
)

ROW_VARIABLES: Final = frozenset(f"ENVWATCH_{name.upper()}" for name in _VALUES.split())


EVENT_VARIABLES: Final = dict.fromkeys(
    f"ENVWATCH_{name}" for name in ("HOOK", "EVENT", "SUMMARY", "REASON", "INCIDENT", "COUNT", "TIME")
).keys()
"""Additional variables of a hook's command."""

NO_ROW: Final[Mapping[str, SafeText]] = MappingProxyType(dict.fromkeys(ROW_VARIABLES, EMPTY))


def row_variables(row: ListedEnvironment, profile: str) -> dict[str, SafeText]:
    """Return a row's variables; missing values are empty."""
    own = {"state": row.state, "last_state": clean(row.tracked.presence.value), "profile": composed(profile)}
    return {
        f"ENVWATCH_{name.upper()}": (own[name] if name in own else PRESENTATIONS[name].text(row.tracked)) or EMPTY
        for name in _VALUES.split()
    }


def child_environment(
    environ: Mapping[str, str], variables: Mapping[str, str], secret_variables: Iterable[str]
) -> dict[str, str]:
    """Return this process's variables without secrets, plus `variables`."""
    hidden = {KEY_VARIABLE, *secret_variables}
    return {name: value for name, value in environ.items() if name not in hidden} | dict(variables)


def ending_text(code: int) -> str:
    """Return how a command ended; a negative `code` is a signal."""
    if code < 0:
        return f"ended by signal {-code}"
    return f"failed with exit status {code}" if code else "done"
