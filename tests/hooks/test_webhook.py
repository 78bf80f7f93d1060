"""Deliveries to web services: addresses, headers and content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.messages import message
from support.receiver import receiver

from envwatch.fleet.alerting.incidents import Incident
from envwatch.hooks.message import DeliveryError
from envwatch.hooks.webhook import PagerDuty, Webhook, pagerduty_event
from envwatch.model.text import clean
from envwatch.redactor import Secret

if TYPE_CHECKING:
    from typing import Any

INCIDENT = message(incident=clean("inc-1"))
KEY = "k" * 32


def prepared(kind: type[Webhook], url: str, **settings: Any) -> Webhook:
    delivery = kind.model_construct(url=Secret(url), **settings)
    delivery.prepare({"KEY": KEY}, {})
    return delivery


async def test_the_event_is_posted_with_the_query_of_the_address() -> None:
    async with receiver() as service:
        await prepared(Webhook, service.url).send(message())
    (posted,) = service.posted
    assert posted.target == "/hook?token=t0"
    assert posted.body == message().cloud_event
    assert posted.headers["content-type"] == "application/cloudevents+json"
    assert not {"authorization", "cookie"} & posted.headers.keys()


async def test_a_key_is_a_bearer_token_and_for_pagerduty_the_routing_key() -> None:
    assert isinstance(INCIDENT.subject, Incident)
    async with receiver() as service:
        await prepared(Webhook, service.url, key_env="KEY").send(INCIDENT)
        await prepared(PagerDuty, service.url, key_env="KEY").send(INCIDENT)
    bearer, pagerduty = service.posted
    assert bearer.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in pagerduty.headers
    assert pagerduty.json == {"routing_key": KEY, **pagerduty_event(INCIDENT.subject, INCIDENT)}
    assert pagerduty.headers["content-type"] == "application/json"


async def test_pagerduty_takes_no_message_without_an_incident_and_is_not_asked_again() -> None:
    async with receiver() as service:
        with pytest.raises(DeliveryError, match="PagerDuty takes incidents only") as caught:
            await prepared(PagerDuty, service.url, key_env="KEY").send(message())
    assert caught.value.is_final
    assert service.posted == []
