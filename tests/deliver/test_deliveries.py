"""Deliveries to a program, by the package apprise, to web services and to PagerDuty: addresses, headers, content."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import pytest
from support.incidents import message
from support.receiver import Answer, receiver

from envwatch.alerts.incident import Incident
from envwatch.deliver.delivery import Apprise, Command, PagerDuty, Webhook, pagerduty_event
from envwatch.deliver.message import DeliveryError
from envwatch.model.redactor import Secret
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}


def command(*arguments: str) -> Command:
    delivery = Command.model_construct(command=arguments)
    delivery.prepare({"SECRET": "s"}, ENVIRON)
    return delivery


async def test_the_event_comes_on_standard_input_and_in_variables() -> None:
    output = await command("sh", "-c", 'cat; echo " $ENVWATCH_SUMMARY $HOME $SECRET"').send(message())
    assert output == '{"specversion":"1.0","id":"evt-1"} web went offline /nowhere'


@pytest.mark.parametrize("program", ["/nonexistent/page", __file__, "no-such-pager"])
def test_an_unusable_program_is_a_problem(program: str) -> None:
    ((problem, fix),) = command(program, "--quiet").problems()
    assert problem == f"there is no program {program} that can be run"
    assert fix
    assert [*command("sh").problems()] == []


def test_people_see_the_whole_command() -> None:
    assert command("page", "--quiet").target == "page --quiet"


def apprise(url: str) -> Apprise:
    delivery = Apprise.model_construct(apprise=(Secret(url),))
    delivery.prepare({}, ENVIRON)
    return delivery


async def test_apprise_delivers_from_a_process_of_its_own() -> None:
    async with receiver() as service:
        url = service.url.replace("http://", "json://")
        await apprise(url).send(message())
    (posted,) = service.posted
    assert (posted.json["title"], posted.json["message"]) == ("web went offline", "web: went offline")


async def test_a_failure_of_apprise_shows_no_address() -> None:
    async with receiver(Answer(500)) as service:
        url = service.url.replace("http://", "json://")
        with pytest.raises(DeliveryError) as caught:
            await apprise(url).send(message())
    assert "a service refused the message" in (caught.value.output or "")
    with pytest.raises(DeliveryError) as caught:
        await apprise("nosuch://secret").send(message())
    assert "address 1" in (caught.value.output or "")
    assert "secret" not in (caught.value.output or "")


def test_apprise_is_asked_about_addresses_for_a_few_seconds_only(tmp_path: Path) -> None:
    class Impatient(Apprise):
        _time_limit: ClassVar = 0.2

    (tmp_path / "apprise.py").write_text("import signal\nsignal.pause()\n")
    delivery = Impatient.model_construct(apprise=(Secret("ntfy://topic"),))
    delivery.prepare({}, {"PYTHONPATH": str(tmp_path)})
    ((what, remedy),) = delivery.problems()
    assert what == "apprise has not answered within 0.2 s"
    assert remedy == "`envwatch hooks test` tries the hook"


INCIDENT = message(incident=clean("inc-1"))
KEY = "k" * 32


def prepared(
    kind: type[Webhook], url: str, environ: Mapping[str, str] = MappingProxyType({}), **settings: Any
) -> Webhook:
    delivery = kind.model_construct(url=Secret(url), **settings)
    delivery.prepare({"KEY": KEY, **environ}, {})
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


@pytest.mark.parametrize(
    ("url", "proxy", "unknown"),
    [
        ("https://hooks.invalid/x", "", "hooks.invalid"),
        ("https://hooks.invalid/x", "http://127.0.0.1:1", None),
        ("https://127.0.0.1/x", "", None),
        ("https://hooks.example/x", "http://proxy.invalid:1", "proxy.invalid"),
    ],
)
def test_a_name_without_an_address_is_a_problem_of_the_nearest_machine(
    url: str, proxy: str, unknown: str | None
) -> None:
    found = prepared(Webhook, url, environ={"HTTPS_PROXY": proxy}).unknown_hosts()
    expected = [] if unknown is None else [f"no address is known for {unknown}"]
    assert [problem for problem, _ in found] == expected


@pytest.mark.parametrize(
    ("hook", "target"),
    [
        (Webhook.model_construct(url=Secret("https://hooks.example/secret?k=v")), "https://hooks.example/…"),
        (Webhook.model_construct(url_env="CHAT_URL"), "the address in CHAT_URL"),
        (PagerDuty.model_construct(key_env="KEY"), "PagerDuty"),
    ],
)
def test_people_see_no_secret_of_the_receiver(hook: Webhook, target: str) -> None:
    assert hook.target == target
