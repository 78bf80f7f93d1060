"""Posts to a real web service on loopback: requests, and the meaning of answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.receiver import Answer, receiver

from envwatch.deliver.message import DeliveryError
from envwatch.deliver.web_service import WebService
from envwatch.letta.network_settings import checked_hook_url

if TYPE_CHECKING:
    from typing import Any


def service_at(url: str, **settings: Any) -> WebService:
    return WebService(checked_hook_url(url), {}, **settings)


async def refusal(answer: Answer, **settings: Any) -> DeliveryError:
    async with receiver(answer) as service:
        with pytest.raises(DeliveryError) as caught:
            await service_at(service.url, **settings).post({}, b"{}")
    assert len(service.posted) == 1
    return caught.value


@pytest.mark.parametrize("status", [400, 404, 408, 429, 500, 503])
async def test_a_refusing_answer_is_named(status: int) -> None:
    error = await refusal(Answer(status))
    assert (str(error), error.is_final) == (f"127.0.0.1 answers {status}", False)


async def test_a_requested_wait_is_known() -> None:
    assert (await refusal(Answer(429, headers=("Retry-After: 17",)))).wait == timedelta(seconds=17)
    assert (await refusal(Answer(503))).wait is None


async def test_a_redirect_is_not_followed() -> None:
    error = await refusal(Answer(307, headers=("Location: http://127.0.0.1:1/elsewhere",)))
    assert str(error) == "127.0.0.1 answers 307, a redirect: give it the final address"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"status": "invalid event", "message": "Bad", "errors": ["no routing_key"]}', ": Bad, no routing_key"),
        ('{"error": {"nested": 1}}', ""),
        ("<html>long</html>", ""),
        ("no_\x1b[31mteam\nsecond line", ": no_\\x1b[31mteam"),
        ("x" * 100_000, ": " + "x" * 199 + "…"),
    ],
)
async def test_the_words_of_a_refusal_are_cleaned_and_bounded(body: str, words: str) -> None:
    assert str(await refusal(Answer(400, body))) == f"127.0.0.1 answers 400{words}"


@pytest.mark.parametrize("stalls", [True, False])
async def test_a_refusal_without_all_its_words_is_a_refusal(*, stalls: bool) -> None:
    error = await refusal(Answer(400, "no te", missing=2, stalls=stalls), time_limit=timedelta(seconds=2))
    assert str(error) == "127.0.0.1 answers 400: no te"


async def test_the_words_of_a_refusal_may_come_in_parts() -> None:
    parts = "".join(f"{len(part)}\r\n{part}\r\n" for part in ("no te", "am", ""))
    error = await refusal(Answer(400, parts, headers=("Transfer-Encoding: chunked",)))
    assert str(error) == "127.0.0.1 answers 400: no team"


@pytest.mark.parametrize(
    ("url", "proxy", "nearest"),
    [
        ("https://255.255.255.255/hook", "", "255.255.255.255:443"),
        ("https://255.255.255.255:8443/hook", "", "255.255.255.255:8443"),
        ("https://hooks.example/hook", "http://255.255.255.255", "255.255.255.255:80"),
    ],
)
async def test_a_service_or_a_proxy_without_a_route_is_named_with_the_port(url: str, proxy: str, nearest: str) -> None:
    service = WebService(checked_hook_url(url), {"HTTPS_PROXY": proxy} if proxy else {})
    with pytest.raises(DeliveryError) as caught:
        await service.post({}, b"{}")
    assert nearest in str(caught.value)


async def test_a_stalling_service_is_left_after_the_time_limit() -> None:
    error = await refusal(Answer(stalls=True), time_limit=timedelta(seconds=0.5))
    assert str(error) == "127.0.0.1 does not answer in time"


async def test_a_broken_off_or_absent_service_is_named() -> None:
    await refusal(Answer(breaks=True))
    with pytest.raises(DeliveryError, match=r"^nothing listens at 127\.0\.0\.1:1: is the address right"):
        await service_at("http://127.0.0.1:1").post({}, b"{}")


async def test_no_failure_shows_more_of_the_address_than_its_host() -> None:
    for answer in (Answer(404), Answer(500), Answer(breaks=True)):
        assert "t0" not in str(await refusal(answer))
