"""The hooks of the configuration file: settings, mistakes, rules and deliveries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from envwatch.config.validators import ARGUMENTS, LINE, NON_EMPTY, QUERY, SECRET_URL, VARIABLE, duration_between, one_of
from envwatch.fleet.events import Event, Kind
from envwatch.hooks.decision import HookRule
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.text import EMPTY, SafeText, clean, did_you_mean
from envwatch.redactor import Secret, redactor
from envwatch.sources.letta.network_settings import SettingsError, checked_hook_url
from envwatch.views.command_context import child_environment
from envwatch.views.events.cloud_events import word_of
from envwatch.views.events.matching import event_test

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envwatch.hooks.message import Delivery
    from envwatch.hooks.webhook import WebService

INCIDENT: Final = "incident"

KINDS: Final[Mapping[str, Kind]] = {
    word_of(Event(kind=kind, at=ServerMs(0))): kind
    for kind in Kind
    if kind not in {Kind.TOGETHER, Kind.WHILE_BLIND, Kind.NOTICE}
}
"""By the words of `watch`. Each member of a group counts separately."""

_SECRET_PART: Final = 12
"""Fewest characters of a secret."""


_WORDS: Final = (INCIDENT, *KINDS)
_TARGETS: Final = ("command", "url", "url_env", "apprise")
_APPRISE_URLS: Final = 20


def _kinds(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not raw or not all(isinstance(word, str) for word in raw):
        raise ValueError(f'must be a list of kinds of events: ["{INCIDENT}"], ["offline", "online"]')
    for word in raw:
        if word not in _WORDS:
            hint = did_you_mean(word, _WORDS) or f"; there are {', '.join(_WORDS)}"
            raise ValueError(f"names an unknown kind of event{hint}")
    return tuple(dict.fromkeys(raw))


def _apprise_urls(raw: object) -> tuple[Secret, ...]:
    urls = raw if isinstance(raw, list) and len(raw) <= _APPRISE_URLS else []
    if urls and all(isinstance(url, str) and url.isprintable() and "://" in url for url in urls):
        return tuple(map(Secret, urls))
    raise ValueError('must be a list of addresses of apprise: ["ntfy://topic"]')


_KINDS: Final = BeforeValidator(
    _kinds,
    json_schema_input_type=Annotated[
        list[Annotated[str, Field(json_schema_extra={"enum": list(_WORDS)})]], Field(min_length=1)
    ],
)
_APPRISE: Final = PlainValidator(
    _apprise_urls, json_schema_input_type=Annotated[list[NON_EMPTY], Field(min_length=1, max_length=_APPRISE_URLS)]
)


class HookSettings(BaseModel):
    """A program or web service that gets messages. Only `watch --hooks` and `serve --hooks` run hooks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[SafeText, LINE] = EMPTY
    """The hook's name in messages and logs; by default, its number."""
    on: Annotated[tuple[str, ...], _KINDS] = (INCIDENT,)
    """Kinds of events. `incident`, the default, sends one message when an incident opens and one when it resolves."""
    filter: Annotated[str, QUERY] = ""
    """Filter: messages only about matching environments, in addition to the alert policy."""
    after: Annotated[timedelta, duration_between(0, 86_400)] = timedelta()
    """Send a message only after the incident or event has lasted this long; for a loss, at least `alert_after`."""
    cooldown: Annotated[timedelta, duration_between(0, 86_400)] = timedelta()
    """Shortest time between two messages about the same environment and kind of event."""
    command: Annotated[tuple[str, ...], ARGUMENTS] = ()
    """A program and its arguments, without a shell. The event is on standard input and in variables `ENVWATCH_*`."""
    url: Annotated[Secret | None, SECRET_URL] = None
    """Address of a web service that gets a CloudEvent by POST: https, or http to this machine."""
    url_env: Annotated[str | None, VARIABLE] = None
    """Name of the environment variable with the web service's address, if the address is a secret."""
    key_env: Annotated[str | None, VARIABLE] = None
    """Name of the environment variable with PagerDuty's routing key, or with a bearer token for another web service."""
    format: Annotated[Literal["cloudevents", "pagerduty"] | None, one_of("cloudevents", "pagerduty")] = None
    """Format of a message: `cloudevents`, or `pagerduty` for PagerDuty's Events API v2, which needs no address."""
    apprise: Annotated[tuple[Secret, ...], _APPRISE] = ()
    """Addresses of services that the package apprise knows. The extra `apprise` installs the package."""

    def numbered(self, number: int) -> HookSettings:
        """Return the hook with a clean name, by default the number in the file, from 1."""
        return self.model_copy(update={"name": clean(self.name or str(number))})

    def rule(self, profile: SafeText) -> HookRule:
        """Return the hook's rule; `profile` is a single profile's name."""
        rule = HookRule(
            kinds=frozenset(KINDS[word] for word in self.on if word != INCIDENT),
            has_incidents=INCIDENT in self.on,
            after=self.after,
            cooldown=self.cooldown,
        )
        return replace(rule, matches=event_test(self.filter, profile)) if self.filter else rule

    @property
    def target(self) -> str:
        """The receiver for people, without secrets."""
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
        """The hook's variables with secrets."""
        return tuple(filter(None, (self.url_env, self.key_env)))


def mistakes_between_hooks(tables: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the mistakes that no single value shows, with the key."""
    names: set[str] = set()
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if not isinstance(table, dict):
            continue
        key = ("hooks", str(index))
        yield from ((key, what) for what in _mistakes_in_hook(table))
        name = str(table.get("name", index + 1)).strip()
        if name in names:
            yield (*key, "name"), "is the name of another hook as well"
        names.add(name)


def _mistakes_in_hook(table: Mapping[str, Any]) -> Iterator[str]:
    is_pagerduty = table.get("format") == "pagerduty"
    targets = [name for name in _TARGETS if name in table]
    if not targets and not is_pagerduty:
        yield "needs what takes its messages: command, url, url_env or apprise"
    elif len(targets) > 1:
        yield f"has {' and '.join(targets)}, and can have one of them only"
    posts = bool({"url", "url_env"} & table.keys()) or (is_pagerduty and not targets)
    yield from (
        f"has {name}, which goes with url only" for name in ("format", "key_env") if name in table and not posts
    )
    if not (is_pagerduty and posts):
        return
    if "key_env" not in table:
        yield "needs key_env, the variable with PagerDuty's routing key"
    if table.get("on", [INCIDENT]) != [INCIDENT]:
        yield f'can have on = ["{INCIDENT}"] only, because PagerDuty takes incidents'


def without_secret(address: Secret) -> str:
    """Return the public parts of a web service's address."""
    url = checked_hook_url(address.get_secret_value())
    return f"{url.scheme}://{url.host}/…"


def deliveries_of(
    hooks: Iterable[HookSettings], environ: Mapping[str, str], key_variables: Iterable[str]
) -> dict[SafeText, Delivery]:
    """Return each hook's delivery by name; the redactor learns the secrets.

    Commands get neither the variables of API keys (`key_variables`) nor the secret variables of hooks.

    Raises:
        SettingsError: for the first hook without a variable or package, or with an unusable address.
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


def _delivery_of(hook: HookSettings, environ: Mapping[str, str], child_environ: Mapping[str, str]) -> Delivery:
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
        key = Secret(_variable(hook.key_env, environ))
        redactor().learn(key.get_secret_value())
    return WebService(url, environ, key=key, is_pagerduty=hook.format == "pagerduty")


def ping_of(address: Secret | None, variable: str | None, environ: Mapping[str, str]) -> WebService | None:
    """Return the dead man's switch, if any; the redactor learns the address.

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
    user, _, _ = path.partition("/")[0].rpartition("@")
    redactor().learn(user.partition(":")[2])
    for separator in "?&=@:":
        path = path.replace(separator, "/")
    for part in path.split("/"):
        if len(part) >= _SECRET_PART:
            redactor().learn(part)
