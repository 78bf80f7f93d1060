"""The official SDK listing every environment: the reference. Also runs as a program, on `LETTA_BASE_URL`."""

from __future__ import annotations

from letta_client import Letta


def count_all(client: Letta) -> int:
    page = client.environments.list(limit="100")
    count = len(page.connections)
    while page.has_next_page:
        page = client.environments.list(limit="100", after=page.connections[-1].id)
        count += len(page.connections)
    return count


if __name__ == "__main__":
    with Letta() as client:
        count_all(client)
