"""Deliveries by the package apprise."""

from __future__ import annotations

import os

import pytest
from support.incidents import message
from support.receiver import Answer, receiver

from envwatch.hooks.delivery import Apprise
from envwatch.hooks.message import DeliveryError
from envwatch.redactor import Secret


def apprise(url: str) -> Apprise:
    delivery = Apprise.model_construct(apprise=(Secret(url),))
    delivery.prepare({}, {"PATH": os.environ["PATH"], "HOME": "/nowhere"})
    return delivery


async def test_apprise_delivers_from_a_process_of_its_own() -> None:
    async with receiver() as service:
        url = service.url.replace("http://", "json://")
        await apprise(url).send(message())
    (posted,) = service.posted
    assert (posted.json["title"], posted.json["message"]) == ("web went offline", "web: went offline")


async def test_what_apprise_does_not_deliver_or_know_is_a_failure_that_shows_no_address() -> None:
    async with receiver(Answer(500)) as service:
        url = service.url.replace("http://", "json://")
        with pytest.raises(DeliveryError) as caught:
            await apprise(url).send(message())
    assert "a service refused the message" in (caught.value.output or "")
    with pytest.raises(DeliveryError) as caught:
        await apprise("nosuch://secret").send(message())
    assert "address 1" in (caught.value.output or "")
    assert "secret" not in (caught.value.output or "")
