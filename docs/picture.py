"""Draws docs/dashboard.svg, the picture in the README: the dashboard on the demo server after 18 seconds.

Run it with `uv run python docs/picture.py`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from envwatch.demo.child import ChildServer
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.limits import Limits
from envwatch.sources.letta.client import Client
from envwatch.sources.poller import Poller
from envwatch.sources.session import Session, Target
from envwatch.storage.export import export_here
from envwatch.tui.app import EnvwatchApp

SECONDS = 18
"""Time for every event of the demo's opening."""


async def picture(base_url: str, key: str) -> str:
    """Return the dashboard as SVG."""
    settings = replace(Limits(), requests_per_minute=1000)
    async with Client(base_url=base_url, key=SecretStr(key), limits=settings) as client:
        poller = Poller(client, settings)
        target = Target(profile="demo", host="127.0.0.1", key_origin="the demo", poller=poller, limits=settings)
        async with Session({NO_PROFILE: target}) as session:
            app = EnvwatchApp(targets=session.targets, outcomes=session, export=export_here)
            async with app.run_test(size=(130, 32)) as pilot:
                await pilot.pause(SECONDS)
                await pilot.press("j")
                svg = app.export_screenshot(title="envwatch demo")
    # The picture needs no web font: browsers have a monospaced one.
    return re.sub(r"@font-face\s*\{[^}]*\}", "", svg)


def main() -> None:
    """Write the picture."""
    with ChildServer.start(40, 7) as server:
        svg = asyncio.run(picture(server.ready(), server.key))
    Path(__file__).with_name("dashboard.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
