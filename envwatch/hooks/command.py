"""Delivery to a program of the user's own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import PrivateAttr

from envwatch.hooks.delivery import Delivery
from envwatch.hooks.rules import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.hooks.message import Message
    from envwatch.model.text import SafeText


class Command(Delivery):
    """Runs a program for each message."""

    targets: ClassVar = ("command",)

    command: Annotated[tuple[str, ...], ARGUMENTS] = ()
    """A program and its arguments, without a shell. The event is on standard input and in variables `ENVWATCH_*`."""
    _environ: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def target(self) -> str:
        """The command."""
        return " ".join(self.command)

    def prepare(self, _environ: Mapping[str, str], child_environ: Mapping[str, str]) -> None:
        """Keep the program's environment."""
        self._environ = child_environ

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield that the program is missing."""
        program = self.command[0]
        if shutil.which(program, path=self._environ.get("PATH")) is None:
            yield f"there is no program {program} that can be run", "install it, or `chmod +x` it, or correct the path"

    async def send(self, message: Message) -> SafeText:
        """Run the program once; return the output for the log."""
        from envwatch.hooks.process import run  # noqa: PLC0415 - where hooks run

        return await run(self.command, {**self._environ, **message.variables}, message.cloud_event)
