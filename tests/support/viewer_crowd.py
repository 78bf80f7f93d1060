"""Many viewers of one `envwatch serve`: light clients, and the official SDK in threads."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING

import httpx
from letta_client import Letta
from support.demo_client import LISTING
from support.programs import TIMEOUT_S
from support.serve_program import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLL_S = 1.0


@dataclass
class Crowd:
    """Counts of answers."""

    answers: int = 0
    official: int = 0
    refused: list[str] = field(default_factory=list)


@asynccontextmanager
async def crowd(url: str, viewers: int, official: int = 0) -> AsyncIterator[Crowd]:
    """Let viewers poll every second: `viewers` light clients with a connection each, and `official` SDK clients in
    threads.
    """
    seen, over = Crowd(), Event()
    threads = [Thread(target=_official, args=(url, seen, over), daemon=True) for _ in range(official)]
    for thread in threads:
        thread.start()
    limits = httpx.Limits(max_connections=viewers, max_keepalive_connections=viewers)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=TIMEOUT_S) as client:
        tasks = [asyncio.create_task(_viewer(client, seen, number / viewers)) for number in range(viewers)]
        try:
            yield seen
        finally:
            over.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    for thread in threads:
        thread.join(TIMEOUT_S)


async def _viewer(client: httpx.AsyncClient, seen: Crowd, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    while True:
        try:
            answer = await client.get(LISTING, params={"limit": "100"})
        except httpx.HTTPError as error:
            seen.refused.append(repr(error))
        else:
            seen.answers += 1
            if answer.status_code != httpx.codes.OK or not answer.json()["connections"]:
                seen.refused.append(answer.text)
        await asyncio.sleep(POLL_S)


def _official(url: str, seen: Crowd, over: Event) -> None:
    with Letta(api_key=TOKEN, base_url=url, max_retries=0) as client:
        while not over.wait(POLL_S):
            try:
                seen.official += bool(client.environments.list(limit="100").connections)
            except Exception as error:  # noqa: BLE001  the test says what went wrong
                seen.refused.append(repr(error))
