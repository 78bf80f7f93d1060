"""The tables `[[hooks]]` of the configuration file: what is run or posted when something happens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from envwatch.config.validators import ARGUMENTS, LINE, NON_EMPTY, QUERY, VARIABLE, duration_between, one_of
from envwatch.config.values import line
from envwatch.hooks.hook import INCIDENT, KINDS, Hook
from envwatch.model.text import clean, did_you_mean
from envwatch.sources.letta.network_settings import SettingsError, checked_hook_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WORDS: Final = (INCIDENT, *KINDS)
_TARGETS: Final = ("command", "url", "url_env", "apprise")
_APPRISE_URLS: Final = 20


def _kinds(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not raw or not all(isinstance(word, str) for word in raw):
        raise ValueError(f'must be a list of kinds of events: ["{INCIDENT}"], ["offline", "online"]')
    for word in raw:
        if word not in _WORDS:
            hint = did_you_mean(word, _WORDS) or f"; there are {', '.join(_WORDS)}"
            raise ValueError(f"names a kind of event that does not exist{hint}")
    return tuple(dict.fromkeys(raw))


def _url(raw: object) -> SecretStr:
    try:
        checked_hook_url(text := line(raw))
    except SettingsError as mistake:
        raise ValueError(f"cannot be used: {mistake}") from None
    return SecretStr(text)


def _apprise_urls(raw: object) -> tuple[SecretStr, ...]:
    """Read addresses of apprise; which services it knows, it says itself."""
    urls = raw if isinstance(raw, list) and len(raw) <= _APPRISE_URLS else []
    if urls and all(isinstance(url, str) and url.isprintable() and "://" in url for url in urls):
        return tuple(map(SecretStr, urls))
    raise ValueError('must be a list of addresses of apprise: ["ntfy://topic"]')


_KINDS: Final = BeforeValidator(
    _kinds,
    json_schema_input_type=Annotated[
        list[Annotated[str, Field(json_schema_extra={"enum": list(_WORDS)})]], Field(min_length=1)
    ],
)
SECRET_URL: Final = BeforeValidator(_url, json_schema_input_type=NON_EMPTY)
_APPRISE: Final = BeforeValidator(
    _apprise_urls, json_schema_input_type=Annotated[list[NON_EMPTY], Field(min_length=1, max_length=_APPRISE_URLS)]
)


class HookSettings(BaseModel):
    """What is run or posted when something happens; only `watch --hooks` and `serve --hooks` do so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str | None, LINE] = None
    """What messages about it call it; by default its number."""
    on: Annotated[tuple[str, ...], _KINDS] = (INCIDENT,)
    """Kinds of events; `incident`, the default, when one opens and when it resolves."""
    filter: Annotated[str | None, QUERY] = None
    """What it is about beside the alert policy, as in the filter box."""
    after: Annotated[timedelta | None, duration_between(0, 86_400)] = None
    """How long it must have held; a loss at least `alert_after`."""
    cooldown: Annotated[timedelta | None, duration_between(0, 86_400)] = None
    """How long the next message about the same environment and kind of event waits."""
    command: Annotated[tuple[str, ...], ARGUMENTS] = ()
    """A program and its arguments: no shell reads them. The event is on standard input and in `ENVWATCH_*`."""
    url: Annotated[SecretStr | None, SECRET_URL] = None
    """The web service to post a CloudEvent to: https, or http to this machine."""
    url_env: Annotated[str | None, VARIABLE] = None
    """The environment variable that holds this address, if it is a secret."""
    key_env: Annotated[str | None, VARIABLE] = None
    """The environment variable that holds PagerDuty's routing key; for others, a bearer token."""
    format: Annotated[Literal["cloudevents", "pagerduty"] | None, one_of("cloudevents", "pagerduty")] = None
    """What is posted: a CloudEvent, or an event of PagerDuty's Events API v2, whose address is the default then."""
    apprise: Annotated[tuple[SecretStr, ...], _APPRISE] = ()
    """Addresses of services that the package apprise knows, which the extra `apprise` of envwatch brings."""

    def hook(self, number: int) -> Hook:
        """Return the hook; its number in the file, from 1, is its name if it has none."""
        return Hook(
            name=clean(self.name or str(number)),
            on=self.on,
            filter=self.filter or "",
            after=self.after or timedelta(),
            cooldown=self.cooldown or timedelta(),
            command=self.command,
            url=self.url,
            url_env=self.url_env,
            key_env=self.key_env,
            is_pagerduty=self.format == "pagerduty",
            apprise=self.apprise,
        )


def mistakes_between(tables: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the mistakes in the tables of hooks that no single value shows, each with the key that it is about."""
    names: set[str] = set()
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if not isinstance(table, dict):
            continue
        key = ("hooks", str(index))
        yield from ((key, what) for what in _mistakes_in(table))
        name = str(table.get("name", index + 1)).strip()
        if name in names:
            yield (*key, "name"), "is the name of another hook as well"
        names.add(name)


def _mistakes_in(table: Mapping[str, Any]) -> Iterator[str]:
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
