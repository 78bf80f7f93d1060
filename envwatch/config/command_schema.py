"""The tables `[commands.NAME]` of the configuration file: the user's own commands for a row of the dashboard."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from envwatch.config.validators import LINE
from envwatch.views.command_context import RowCommand


def _arguments(raw: object) -> tuple[str, ...]:
    """Read a program and its arguments."""
    if isinstance(raw, list) and raw and all(isinstance(word, str) and "\0" not in word for word in raw) and raw[0]:
        return tuple(raw)
    raise ValueError('must be a list of texts, a program and its arguments: ["ssh-to-env", "--quiet"]')


ARGUMENTS: Final = BeforeValidator(_arguments, json_schema_input_type=Annotated[list[str], Field(min_length=1)])


class Command(BaseModel):
    """A command of the user's own for the row under the cursor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, LINE]
    """The key that runs it on the dashboard."""
    run: Annotated[tuple[str, ...], ARGUMENTS]
    """The program and its arguments. No shell reads them, and nothing is put into them: the row is in `ENVWATCH_*`."""
    description: Annotated[str, LINE] = ""
    """What help and palette call it; the name by default."""

    def named(self, name: str) -> RowCommand:
        """Return the command as the screen takes it."""
        return RowCommand(name=name, key=self.key, run=self.run, description=self.description or name)
