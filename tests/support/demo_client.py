"""A plain HTTP client for tests of the demo API, and a clock for the demo server."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "demo-key-for-tests"
LISTING = "/v1/environments"
START = 1_764_000_000_000

Row = dict[str, Any]


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    def __init__(self, base_url: str, key: str | None = KEY) -> None:
        self.connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=60)
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, target: str, *, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Answer:
        self.connection.request(method, target, body, {**self.headers, **headers})
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def pages(self, query: str, limit: int) -> Iterator[list[Row]]:
        after = ""
        while True:
            page = self.ask(f"{LISTING}?limit={limit}{query}{after}").json
            yield page["connections"]
            if not page["hasNextPage"]:
                return
            after = f"&after={page['connections'][-1]['id']}"

    def rows(self, query: str = "", limit: int = 100) -> list[Row]:
        return [row for page in self.pages(query, limit) for row in page]


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now
