"""Delivery to web services: a CloudEvent by POST, or PagerDuty's Events API v2."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import PrivateAttr
from pydantic_core import to_json

from envwatch.fleet.alerting.incidents import Incident
from envwatch.hooks.delivery import Delivery, learn_parts, variable_in
from envwatch.hooks.rules import SECRET_URL, VARIABLE, one_of
from envwatch.model.text import EMPTY, SafeText
from envwatch.redactor import Secret, redactor
from envwatch.sources.letta.network_settings import checked_hook_url
from envwatch.views.output.formats import iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.hooks.message import Message
    from envwatch.hooks.web_service import WebService

PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
_PAGERDUTY: Final = "pagerduty"
_NAMES: Final = 20


def without_secret(address: Secret) -> str:
    """Return the public parts of a web service's address."""
    url = checked_hook_url(address.get_secret_value())
    return f"{url.scheme}://{url.host}/…"


class Webhook(Delivery):
    """Posts each message as a CloudEvent to a web service."""

    targets: ClassVar = ("url", "url_env")

    url: Annotated[Secret | None, SECRET_URL] = None
    """Address of a web service that gets a CloudEvent by POST: https, or http to this machine."""
    url_env: Annotated[str | None, VARIABLE] = None
    """Name of the environment variable with the web service's address, if the address is a secret."""
    key_env: Annotated[str | None, VARIABLE] = None
    """Name of the environment variable with PagerDuty's routing key, or with a bearer token for another web service."""
    format: Annotated[Literal["cloudevents", "pagerduty"] | None, one_of("cloudevents", _PAGERDUTY)] = None
    """Format of a message: `cloudevents`, or `pagerduty` for PagerDuty's Events API v2, which needs no address."""
    _service: WebService = PrivateAttr()
    _key: Secret | None = PrivateAttr(default=None)

    @classmethod
    def is_chosen(cls, table: Mapping[str, Any]) -> bool:
        """Whether a table has an address, but is not about PagerDuty."""
        return super().is_chosen(table) and table.get("format") != _PAGERDUTY

    @property
    def target(self) -> str:
        """The address without secrets."""
        if self.url_env is not None:
            return f"the address in {self.url_env}"
        return "PagerDuty" if self.url is None else without_secret(self.url)

    def prepare(self, environ: Mapping[str, str], _child_environ: Mapping[str, str]) -> None:
        """Read address and key."""
        from envwatch.hooks.web_service import WebService  # noqa: PLC0415 - where hooks run

        text = variable_in(environ, self.url_env) if self.url_env is not None else PAGERDUTY_URL
        url = checked_hook_url(text if self.url is None else self.url.get_secret_value())
        learn_parts(url.raw_path.decode("ascii"))
        if self.key_env is not None:
            self._key = Secret(variable_in(environ, self.key_env))
            redactor().learn(self._key.get_secret_value())
        self._service = WebService(url, environ)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield that the name of the service or of its proxy has no address."""
        nearest = self._service.url if self._service.proxy is None else self._service.proxy.url
        try:
            socket.getaddrinfo(nearest.host, None)
        except (OSError, UnicodeError):
            yield f"no address is known for {nearest.host}", "correct the address, or look at DNS"

    async def send(self, message: Message) -> SafeText:
        """Post the CloudEvent."""
        headers = {"Content-Type": "application/cloudevents+json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        await self._service.post(headers, message.cloud_event)
        return EMPTY


class PagerDuty(Webhook):
    """Posts each incident to PagerDuty's Events API v2, or to a service with the same API."""

    @classmethod
    def is_chosen(cls, table: Mapping[str, Any]) -> bool:
        """Whether the format of a table is PagerDuty's."""
        return table.get("format") == _PAGERDUTY

    @classmethod
    def mistakes(cls, table: Mapping[str, Any]) -> Iterator[str]:
        """Yield a missing key, and kinds of events that PagerDuty does not take."""
        if "key_env" not in table:
            yield "needs key_env, the variable with PagerDuty's routing key"
        if table.get("on", ["incident"]) != ["incident"]:
            yield 'can have on = ["incident"] only, because PagerDuty takes incidents'

    async def send(self, message: Message) -> SafeText:
        """Post the incident."""
        if not isinstance(message.subject, Incident):
            from envwatch.hooks.message import DeliveryError  # noqa: PLC0415 - where hooks run

            raise DeliveryError("PagerDuty takes incidents only", is_final=True)
        key = {} if self._key is None else {"routing_key": self._key.get_secret_value()}
        content = to_json(key | pagerduty_event(message.subject, message))
        await self._service.post({"Content-Type": "application/json"}, content)
        return EMPTY


def pagerduty_event(incident: Incident, message: Message) -> dict[str, object]:
    """Return an incident as an event of PagerDuty, without the routing key."""
    if message.is_resolved:
        return {"event_action": "resolve", "dedup_key": incident.id}
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
