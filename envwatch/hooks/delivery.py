"""A way to deliver a hook's messages, and the secrets of its addresses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from envwatch.redactor import redactor
from envwatch.sources.letta.network_settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.hooks.message import Message
    from envwatch.model.text import SafeText

_SECRET_PART: Final = 12
"""Fewest characters of a secret."""


class Delivery(BaseModel, ABC):
    """A way to deliver messages: a class for each. `config.hooks.DELIVERIES` lists the classes.

    The fields are the settings in a table `[[hooks]]`: type, rule and help. The rule `VARIABLE` marks the name of a
    variable with a secret. The module of a class is imported with every configuration file, so methods import what
    only sending needs.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    targets: ClassVar[tuple[str, ...]]
    """Settings that choose the delivery. A hook has one setting of all `targets`."""

    @classmethod
    def is_chosen(cls, table: Mapping[str, Any]) -> bool:
        """Whether a table `[[hooks]]` chooses the delivery."""
        return not table.keys().isdisjoint(cls.targets)

    @classmethod
    def mistakes(cls, _table: Mapping[str, Any]) -> Iterator[str]:
        """Yield the mistakes between settings of a table, as ends of sentences."""
        yield from ()

    @property
    @abstractmethod
    def target(self) -> str:
        """The receiver for people, without secrets."""

    def prepare(self, environ: Mapping[str, str], child_environ: Mapping[str, str]) -> None:
        """Read the environment once before `send`; the redactor learns the secrets.

        `child_environ` is `environ` without secrets, for commands.

        Raises:
            SettingsError: without a variable or package, or with an unusable address.
        """

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the reasons why a prepared delivery cannot run on this machine, each with its fix. Send nothing."""
        yield from ()

    @abstractmethod
    async def send(self, message: Message) -> SafeText:
        """Deliver a message; return text for the log. Cancelling ends delivery at once.

        Raises:
            DeliveryError: if delivery fails.
        """


def variable_in(environ: Mapping[str, str], name: str) -> str:
    """Return a variable with an address or a key.

    Raises:
        SettingsError: if the variable is not set or cannot be used.
    """
    if not (text := environ.get(name, "").strip()):
        raise SettingsError(f"{name} is not set")
    if not (text.isascii() and text.isprintable()):
        raise SettingsError(f"{name} holds characters that no address or key has")
    return text


def learn_parts(path: str) -> None:
    """Teach the redactor the secrets in an address without scheme: a password and long parts."""
    user, _, _ = path.partition("/")[0].rpartition("@")
    redactor().learn(user.partition(":")[2])
    for separator in "?&=@:":
        path = path.replace(separator, "/")
    for part in path.split("/"):
        if len(part) >= _SECRET_PART:
            redactor().learn(part)
