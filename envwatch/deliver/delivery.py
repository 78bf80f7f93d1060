"""Deliveries of hook messages, and the secrets of addresses."""

from __future__ import annotations

import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, PrivateAttr
from pydantic_core import to_json

from envwatch.alerts.incident import Incident
from envwatch.alerts.ledger import Progress
from envwatch.deliver.rules import ARGUMENTS, NON_EMPTY, SECRET_URL, VARIABLE, one_of
from envwatch.letta.network_settings import SettingsError, checked_hook_url
from envwatch.model import limits
from envwatch.model.redactor import Secret, redactor
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.views.command_context import child_environment
from envwatch.views.output.formats import iso

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import timedelta

    from envwatch.deliver.message import Message
    from envwatch.deliver.web_service import WebService

_SECRET_PART: Final = 12
"""Fewest characters of a secret."""
PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
WHERE_IT_RUNS: Final = "correct it where envwatch runs, such as in the environment of the service"
"""The remedy for a variable: a service has other variables than a shell."""
_PAGERDUTY: Final = "pagerduty"
_NAMES: Final = 20
_MOST_URLS: Final = 20


class Delivery(BaseModel, ABC):
    """A way to deliver messages; `config.hooks.DELIVERIES` lists the classes.

    The fields are settings in a table `[[hooks]]`; the rule `VARIABLE` marks the name of a secret variable. Every
    configuration file imports the module, so methods import the parts for sending.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    targets: ClassVar[tuple[str, ...]]
    """Settings that choose the delivery. A hook has a single such setting."""
    has_acks: ClassVar[bool] = False
    """Whether the receiver takes acknowledgements of incidents."""
    remedy: ClassVar[str] = WHERE_IT_RUNS
    """The remedy if `prepare` fails."""

    @classmethod
    def is_chosen(cls, table: Mapping[str, Any]) -> bool:
        """Whether a table `[[hooks]]` chooses the delivery."""
        return not table.keys().isdisjoint(cls.targets)

    @classmethod
    def mistakes(cls, _table: Mapping[str, Any]) -> Iterator[str]:
        """Yield mistakes between settings, as ends of sentences."""
        yield from ()

    @property
    @abstractmethod
    def target(self) -> str:
        """The receiver, without secrets."""

    def prepare(self, environ: Mapping[str, str], child_environ: Mapping[str, str]) -> None:
        """Read the environment once before `send`; the redactor learns the secrets.

        `child_environ` is `environ` without secrets.

        Raises:
            SettingsError: without a variable or package, or with an unusable address.
        """

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield reasons on this machine why a prepared delivery cannot run, with fixes. Send nothing."""
        yield from ()

    def unknown_hosts(self) -> Iterator[tuple[str, str]]:
        """Yield hosts without an address, with fixes. Send nothing."""
        yield from ()

    @abstractmethod
    async def send(self, message: Message) -> SafeText:
        """Deliver a message; return text for the log. Cancelling ends delivery at once.

        Raises:
            DeliveryError: if delivery fails.
        """


class Unusable(Delivery):
    """Stands for a delivery that cannot be prepared: each try fails with the reason, and other hooks run."""

    targets: ClassVar = ()

    why: str
    intended: Delivery

    @property
    def target(self) -> str:
        """The receiver of the intended delivery."""
        return self.intended.target

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the reason."""
        yield self.why, self.intended.remedy

    async def send(self, _message: Message) -> SafeText:
        """Fail."""
        from envwatch.deliver.message import DeliveryError  # noqa: PLC0415 - where hooks run

        raise DeliveryError(self.why)


def variable_in(environ: Mapping[str, str], name: str) -> str:
    """Return a variable's value.

    Raises:
        SettingsError: if the variable is not set or unusable.
    """
    if not (text := environ.get(name, "").strip()):
        raise SettingsError(f"{name} is not set")
    if not (text.isascii() and text.isprintable()):
        raise SettingsError(f"{name} holds characters that no address or key has")
    return text


def secret_in(environ: Mapping[str, str], name: str) -> Secret:
    """Return the key or token in a variable; the redactor learns the text.

    Raises:
        SettingsError: if the variable is not set or unusable.
    """
    secret = variable_in(environ, name)
    redactor().learn(secret)
    return Secret(secret)


def learn_parts(path: str) -> None:
    """Teach the redactor the password and the long parts of an address without scheme."""
    user, _, _ = path.partition("/")[0].rpartition("@")
    redactor().learn(user.partition(":")[2])
    for separator in "?&=@:":
        path = path.replace(separator, "/")
    for part in path.split("/"):
        if len(part) >= _SECRET_PART:
            redactor().learn(part)


def without_secret(address: Secret) -> str:
    """Return an address's public parts."""
    url = checked_hook_url(address.get_secret_value())
    return f"{url.scheme}://{url.host}/…"


def service_at(
    address: Secret | None, variable: str | None, environ: Mapping[str, str], time_limit: timedelta = limits.HOOK_TIME
) -> WebService:
    """Return the web service at an address or variable; the redactor learns the address.

    Raises:
        SettingsError: if the variable is not set, or the address unusable.
    """
    from envwatch.deliver.web_service import WebService  # noqa: PLC0415 - where hooks run

    url = checked_hook_url(variable_in(environ, variable or "") if address is None else address.get_secret_value())
    learn_parts(url.raw_path.decode("ascii"))
    return WebService(url, environ, time_limit)


def prepare_all(
    deliveries: Mapping[SafeText, Delivery], environ: Mapping[str, str], hidden: Collection[str]
) -> dict[SafeText, Delivery]:
    """Prepare the hooks' deliveries, by name; the redactor learns the secrets.

    Commands get no variable of `hidden`. A delivery that lacks a variable or package, or has an unusable address,
    becomes `Unusable`.
    """
    prepared = {**deliveries}
    child_environ = child_environment(environ, {}, hidden)
    for name, delivery in deliveries.items():
        try:
            delivery.prepare(environ, child_environ)
        except SettingsError as error:
            prepared[name] = Unusable(why=str(error), intended=delivery)
    return prepared


def unusable_hooks(deliveries: Mapping[SafeText, Delivery]) -> Sequence[SafeText]:
    """Return a line with reason and remedy for each hook that cannot send anything."""
    unusable = {name: each for name, each in deliveries.items() if isinstance(each, Unusable)}
    return [clean(f"hook {name}: {each.why}: {each.intended.remedy}") for name, each in unusable.items()]


def find_ping(address: Secret | None, variable: str | None, environ: Mapping[str, str]) -> WebService | None:
    """Return the dead man's switch, if any; the redactor learns the address.

    Raises:
        SettingsError: if the variable is missing, or the address unusable.
    """
    if address is None and variable is None:
        return None
    try:
        return service_at(address, variable, environ, limits.PING_TIME)
    except SettingsError as error:
        raise SettingsError(f"{'ping_url_env' if address is None else 'ping_url'}: {error}") from None


class Command(Delivery):
    """Runs a program for each message."""

    targets: ClassVar = ("command",)

    command: Annotated[tuple[str, ...], ARGUMENTS] = Field(
        default=(),
        description="A program and its arguments, without a shell. The event is on standard input and in variables "
        "`ENVWATCH_*`.",
    )
    _environ: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def target(self) -> str:
        """The command."""
        return " ".join(self.command)

    def prepare(self, _environ: Mapping[str, str], child_environ: Mapping[str, str]) -> None:
        """Keep the program's environment."""
        self._environ = child_environ

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a missing program."""
        program = self.command[0]
        if shutil.which(program, path=self._environ.get("PATH")) is None:
            yield f"there is no program {program} that can be run", "install it, or `chmod +x` it, or correct the path"

    async def send(self, message: Message) -> SafeText:
        """Run the program."""
        from envwatch.deliver.process import run  # noqa: PLC0415 - where hooks run

        return await run(self.command, {**self._environ, **message.variables}, message.cloud_event)


class Webhook(Delivery):
    """Posts each message as a CloudEvent to a web service."""

    targets: ClassVar = ("url", "url_env")

    url: Annotated[Secret | None, SECRET_URL] = Field(
        default=None,
        description="Address of a web service that gets a CloudEvent by POST: https, or http to this machine.",
    )
    url_env: Annotated[str | None, VARIABLE] = Field(
        default=None,
        description="Name of the environment variable with the web service's address, if the address is a secret.",
    )
    key_env: Annotated[str | None, VARIABLE] = Field(
        default=None,
        description="Name of the environment variable with PagerDuty's routing key, or with a bearer token for another "
        "web service.",
    )
    format: Annotated[Literal["cloudevents", "pagerduty"] | None, one_of("cloudevents", _PAGERDUTY)] = Field(
        default=None,
        description="Format of a message: `cloudevents`, or `pagerduty` for PagerDuty's Events API v2, which needs no "
        "address.",
    )
    _service: WebService = PrivateAttr()
    _key: Secret | None = PrivateAttr(default=None)

    @classmethod
    def is_chosen(cls, table: Mapping[str, Any]) -> bool:
        """Whether a table has an address, and not PagerDuty's format."""
        return super().is_chosen(table) and table.get("format") != _PAGERDUTY

    @property
    def target(self) -> str:
        """The address without secrets."""
        if self.url_env is not None:
            return f"the address in {self.url_env}"
        return "PagerDuty" if self.url is None else without_secret(self.url)

    def prepare(self, environ: Mapping[str, str], _child_environ: Mapping[str, str]) -> None:
        """Read address and key."""
        address = Secret(PAGERDUTY_URL) if self.url is None and self.url_env is None else self.url
        self._service = service_at(address, self.url_env, environ)
        if self.key_env is not None:
            self._key = secret_in(environ, self.key_env)

    def unknown_hosts(self) -> Iterator[tuple[str, str]]:
        """Yield a service or proxy whose name has no address."""
        yield from self._service.unknown_hosts()

    async def send(self, message: Message) -> SafeText:
        """Post the CloudEvent."""
        headers = {"Content-Type": "application/cloudevents+json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        await self._service.post(headers, message.cloud_event)
        return EMPTY


class PagerDuty(Webhook):
    """Posts each incident to PagerDuty's Events API v2, or to a service with the same API."""

    has_acks: ClassVar = True

    @classmethod
    def is_chosen(cls, table: Mapping[str, Any]) -> bool:
        """Whether a table has PagerDuty's format."""
        return table.get("format") == _PAGERDUTY

    @classmethod
    def mistakes(cls, table: Mapping[str, Any]) -> Iterator[str]:
        """Yield a missing key, and events that PagerDuty does not take."""
        if "key_env" not in table:
            yield "needs key_env, the variable with PagerDuty's routing key"
        if table.get("on", ["incident"]) != ["incident"]:
            yield 'can have on = ["incident"] only, because PagerDuty takes incidents'

    async def send(self, message: Message) -> SafeText:
        """Post the incident."""
        if not isinstance(message.subject, Incident):
            from envwatch.deliver.message import DeliveryError  # noqa: PLC0415 - where hooks run

            raise DeliveryError("PagerDuty takes incidents only", is_final=True)
        key = {} if self._key is None else {"routing_key": self._key.get_secret_value()}
        content = to_json(key | pagerduty_event(message.subject, message))
        await self._service.post({"Content-Type": "application/json"}, content)
        return EMPTY


def pagerduty_event(incident: Incident, message: Message) -> dict[str, object]:
    """Return PagerDuty's event, without the routing key."""
    if message.is_resolved:
        return {"event_action": "resolve", "dedup_key": incident.id}
    if message.progress is Progress.ACK_DUE:
        return {"event_action": "acknowledge", "dedup_key": incident.id}
    losses = incident.losses
    lost = [] if incident.is_blindness else losses
    details = {
        "count": len(lost),
        "environments": [loss.name or loss.id for loss in lost[:_NAMES]],
        "reasons": sorted({loss.reason for loss in losses if loss.reason})[:_NAMES],
        "shared": incident.shared,
        "profile": message.context.profile or None,
    }
    payload = {
        "summary": message.summary,
        "source": message.context.host,
        "severity": "critical" if incident.is_mass else "error",
        "timestamp": iso(incident.began_at),
        "component": losses[0].name or losses[0].id if len(losses) == 1 else incident.shared,
        "class": losses[0].kind.value,
        "custom_details": _without_none(details),
    }
    return {
        "event_action": "trigger",
        "dedup_key": incident.id,
        "client": "envwatch",
        "payload": _without_none(payload),
    }


def _without_none(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


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
    remedy: ClassVar = (
        "install envwatch with its extra `apprise`, such as `uv tool install 'envwatch[metrics,apprise]'`"
    )
    _child: ClassVar = (sys.executable, "-P", "-m", "envwatch.deliver.apprise_child")
    _time_limit: ClassVar = 4.0
    """Seconds for a check of the addresses."""

    apprise: Annotated[tuple[Secret, ...], _URLS] = Field(
        default=(),
        description="Addresses of services that the package apprise knows. The extra `apprise` installs the package.",
    )
    _environ: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def target(self) -> str:
        """The services."""
        return ", ".join(f"{url.get_secret_value().partition('://')[0]}://…" for url in self.apprise)

    def prepare(self, _environ: Mapping[str, str], child_environ: Mapping[str, str]) -> None:
        """Check the package."""
        if find_spec("apprise") is None:
            raise SettingsError("the package apprise is not installed")
        for url in self.apprise:
            learn_parts(url.get_secret_value().partition("://")[2])
        self._environ = child_environ

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield an address that the package does not know, or a package that hangs."""
        request, environ = to_json({"urls": self._urls}), {**self._environ}
        try:
            done = subprocess.run(  # noqa: S603 - a fixed argv
                self._child, input=request, env=environ, capture_output=True, check=False, timeout=self._time_limit
            )
        except subprocess.TimeoutExpired:
            yield f"apprise has not answered within {self._time_limit:g} s", "`envwatch hooks test` tries the hook"
            return
        if done.returncode:
            lines = done.stderr.decode(errors="replace").splitlines() or ["apprise failed"]
            yield lines[-1], "correct the address: https://github.com/caronc/apprise/wiki lists the services"

    @property
    def _urls(self) -> list[str]:
        return [url.get_secret_value() for url in self.apprise]

    async def send(self, message: Message) -> SafeText:
        """Run the child."""
        from envwatch.deliver.process import run  # noqa: PLC0415 - where hooks run

        request = to_json({"urls": self._urls, "title": message.summary, "body": message.text})
        return await run(self._child, self._environ, request)
