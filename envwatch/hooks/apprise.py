"""Delivery to the services of the package apprise."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field, PlainValidator, PrivateAttr
from pydantic_core import to_json

from envwatch.hooks.delivery import Delivery, learn_parts
from envwatch.hooks.rules import NON_EMPTY
from envwatch.redactor import Secret
from envwatch.sources.letta.network_settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.hooks.message import Message
    from envwatch.model.text import SafeText

_MOST_URLS: Final = 20


def _urls(raw: object) -> tuple[Secret, ...]:
    urls = raw if isinstance(raw, list) and len(raw) <= _MOST_URLS else []
    if urls and all(isinstance(url, str) and url.isprintable() and "://" in url for url in urls):
        return tuple(map(Secret, urls))
    raise ValueError('must be a list of addresses of apprise: ["ntfy://topic"]')


_URLS: Final = PlainValidator(
    _urls, json_schema_input_type=Annotated[list[NON_EMPTY], Field(min_length=1, max_length=_MOST_URLS)]
)


class Apprise(Delivery):
    """Passes each message as text to apprise in a child process."""

    targets: ClassVar = ("apprise",)

    apprise: Annotated[tuple[Secret, ...], _URLS] = ()
    """Addresses of services that the package apprise knows. The extra `apprise` installs the package."""
    _environ: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def target(self) -> str:
        """The services."""
        return ", ".join(f"{url.get_secret_value().partition('://')[0]}://…" for url in self.apprise)

    def prepare(self, _environ: Mapping[str, str], child_environ: Mapping[str, str]) -> None:
        """Keep the child's environment, and check the package."""
        if find_spec("apprise") is None:
            how = "install envwatch with its extra `apprise`, such as `uv tool install '.[apprise]'`"
            raise SettingsError(f"the package apprise is not installed: {how}")
        for url in self.apprise:
            learn_parts(url.get_secret_value().partition("://")[2])
        self._environ = child_environ

    async def send(self, message: Message) -> SafeText:
        """Run the child once; return the output for the log."""
        from envwatch.hooks.process import run  # noqa: PLC0415 - where hooks run

        urls = [url.get_secret_value() for url in self.apprise]
        request = to_json({"urls": urls, "title": message.summary, "body": message.text})
        return await run([sys.executable, "-P", "-m", "envwatch.hooks.apprise_child"], self._environ, request)
