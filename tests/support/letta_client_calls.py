"""The API client with a test server, and the client's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.faulty_server import KEY, everything_in

from envwatch.letta.client import Client
from envwatch.model.limits import Limits
from envwatch.model.outcome import Failure, SourceError
from envwatch.model.redactor import Secret

if TYPE_CHECKING:
    from support.faulty_server import Faulty

PATIENT = Limits(page_size=2)
"""Pages of two rows, and deadlines that a busy machine keeps."""


def client_of(server: Faulty, limits: Limits = PATIENT, **changes: Any) -> Client:
    """Return a client with the server's key, without variables from the environment."""
    settings: dict[str, Any] = {"base_url": server.url, "key": Secret(KEY), "limits": limits, "environ": {}}
    return Client(**settings | changes)


async def error_or_none(client: Client) -> SourceError | None:
    try:
        await client.snapshot()
    except SourceError as error:
        return error
    return None


async def failure_of(client: Client) -> Failure:
    """Return the failure of a listing, which must fail without exposing the key."""
    error = await error_or_none(client)
    assert error is not None
    assert KEY not in everything_in(error)
    return error.failure
