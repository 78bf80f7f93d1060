"""One hook as it is configured: when it fires, and what delivers its messages. Reads variables, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal

from pydantic import SecretStr

from envwatch.fleet.events import Event, Kind
from envwatch.hooks.decision import HookRule
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.redactor import redactor
from envwatch.sources.letta.network_settings import SettingsError, checked_hook_url
from envwatch.views.events.cloud_events import word_of
from envwatch.views.events.matching import event_test
from envwatch.views.output.command_context import child_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.hooks.message import Delivery
    from envwatch.hooks.webhook import WebService
    from envwatch.model.text import SafeText

INCIDENT: Final = "incident"
"""The word for incidents, among those for kinds of events."""

KINDS: Final[Mapping[str, Kind]] = {
    word_of(Event(kind=kind, at=ServerMs(0))): kind
    for kind in Kind
    if kind not in {Kind.TOGETHER, Kind.WHILE_BLIND, Kind.NOTICE}
}
"""The kinds of events that a hook may fire for, by the words of `watch`; of a group, each member counts for itself."""

_SECRET_PART: Final = 12
"""Characters from which a part of an address counts as a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One hook; it has a command, an address or the variable with it, or addresses of apprise."""

    name: SafeText
    on: tuple[str, ...] = (INCIDENT,)
    """Words of `KINDS`, and `INCIDENT`."""
    filter: str = ""
    after: timedelta = timedelta()
    cooldown: timedelta = timedelta()
    command: tuple[str, ...] = ()
    url: SecretStr | None = None
    url_env: str | None = None
    key_env: str | None = None
    format: Literal["cloudevents", "pagerduty"] | None = None
    apprise: tuple[SecretStr, ...] = ()

    def rule(self, profile: SafeText) -> HookRule:
        """Return when it fires, where only this profile is watched."""
        rule = HookRule(
            kinds=frozenset(KINDS[word] for word in self.on if word != INCIDENT),
            has_incidents=INCIDENT in self.on,
            after=self.after,
            cooldown=self.cooldown,
        )
        return replace(rule, matches=event_test(self.filter, profile)) if self.filter else rule

    @property
    def target(self) -> str:
        """What takes its messages, for people: no part of an address that may be a secret."""
        if self.command:
            return " ".join(self.command)
        if self.apprise:
            return ", ".join(f"{url.get_secret_value().partition('://')[0]}://…" for url in self.apprise)
        if self.url_env is not None:
            return f"the address in {self.url_env}"
        if self.url is None:
            return "PagerDuty"
        return without_secret(self.url)

    @property
    def secret_variables(self) -> tuple[str, ...]:
        """Names of the variables with its secrets."""
        return tuple(filter(None, (self.url_env, self.key_env)))


def without_secret(address: SecretStr) -> str:
    """Return the parts of a web service's address that are no secret."""
    url = checked_hook_url(address.get_secret_value())
    return f"{url.scheme}://{url.host}/…"


def deliveries_of(
    hooks: Iterable[Hook], environ: Mapping[str, str], key_variables: Iterable[str]
) -> dict[SafeText, Delivery]:
    """Return what delivers the messages of each hook, by its name; the redactor learns their secrets.

    `key_variables` are the names of variables that hold an API key; no command gets them, nor those of other hooks.

    Raises:
        SettingsError: for the first hook that lacks a variable, or whose address cannot be used.
    """
    hooks = tuple(hooks)
    hidden = {*key_variables, *(name for hook in hooks for name in hook.secret_variables)}
    child_environ = child_environment(environ, {}, hidden)
    deliveries = {}
    for hook in hooks:
        try:
            deliveries[hook.name] = _delivery_of(hook, environ, child_environ)
        except SettingsError as error:
            raise SettingsError(f"hook {hook.name}: {error}") from None
    return deliveries


def _delivery_of(hook: Hook, environ: Mapping[str, str], child_environ: Mapping[str, str]) -> Delivery:
    from envwatch.hooks.command import HookCommand, apprise_command  # noqa: PLC0415 - where hooks run

    if hook.command:
        return HookCommand(hook.command, child_environ)
    if hook.apprise:
        if find_spec("apprise") is None:
            how = "install envwatch with its extra `apprise`, such as `uv tool install '.[apprise]'`"
            raise SettingsError(f"the package apprise is not installed: {how}")
        for address in hook.apprise:
            _learn(address.get_secret_value().partition("://")[2])
        return apprise_command(hook.apprise, child_environ)
    from envwatch.hooks.webhook import PAGERDUTY, WebService  # noqa: PLC0415 - httpx, only where it is used

    text = _variable(hook.url_env, environ) if hook.url_env is not None else PAGERDUTY
    if hook.url is not None:
        text = hook.url.get_secret_value()
    url = checked_hook_url(text)
    if text != PAGERDUTY:
        _learn(url.raw_path.decode("ascii"))
    key = None
    if hook.key_env is not None:
        key = SecretStr(_variable(hook.key_env, environ))
        redactor().learn(key.get_secret_value())
    return WebService(url, environ, key=key, is_pagerduty=hook.format == "pagerduty")


def ping_of(address: SecretStr | None, variable: str | None, environ: Mapping[str, str]) -> WebService | None:
    """Return the dead man's switch by the settings `ping_url` and `ping_url_env`; the redactor learns the address.

    Raises:
        SettingsError: if the variable is not set, or the address cannot be used.
    """
    if address is None and variable is None:
        return None
    from envwatch.hooks.webhook import WebService  # noqa: PLC0415 - httpx, only where it is used

    try:
        text = address.get_secret_value() if address is not None else _variable(variable or "", environ)
        url = checked_hook_url(text)
        _learn(url.raw_path.decode("ascii"))
        return WebService(url, environ, limits.PING_TIME)
    except SettingsError as error:
        raise SettingsError(f"{'ping_url_env' if address is None else 'ping_url'}: {error}") from None


def _variable(name: str, environ: Mapping[str, str]) -> str:
    if not (text := environ.get(name, "").strip()):
        raise SettingsError(f"{name} is not set")
    if not (text.isascii() and text.isprintable()):
        raise SettingsError(f"{name} holds characters that no address or key has")
    return text


def _learn(path: str) -> None:
    """Let the redactor know the password of an address, and its other parts that are long enough to be a secret."""
    user, _, _ = path.partition("/")[0].rpartition("@")
    redactor().learn(user.partition(":")[2])
    for separator in "?&=@:":
        path = path.replace(separator, "/")
    for part in path.split("/"):
        if len(part) >= _SECRET_PART:
            redactor().learn(part)
