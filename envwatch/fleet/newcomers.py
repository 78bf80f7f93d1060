"""Which newcomer is a twin of an environment on the same device, and which replaces one. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envwatch.fleet.events import Event, Kind
from envwatch.model.text import SafeText, composed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.tracking import TrackedEnvironment


def named_by_device(events: list[Event], environments: Mapping[SafeText, TrackedEnvironment]) -> list[Event]:
    """Return the events; a newcomer on a device that is listed already is named as its twin or its replacement."""
    newcomers = {event.id for event in events if event.kind is Kind.APPEARED}
    if not newcomers:
        return events
    on_device: dict[SafeText, list[TrackedEnvironment]] = {}
    for id_, tracked in environments.items():
        if id_ not in newcomers:
            on_device.setdefault(tracked.environment.device_id, []).append(tracked)

    def linked(event: Event) -> Event:
        if event.kind is not Kind.APPEARED or event.id is None:
            return event
        others = on_device.get(environments[event.id].environment.device_id, [])
        if not others:
            return event
        # A row that this listing lacks may be the same machine under its old id.
        twin = next((tracked for tracked in others if tracked.verdict.is_up and not tracked.absent), None)
        relation = f"twin of {twin.environment.label}" if twin else f"replaces {others[-1].environment.label}"
        return replace(event, reason=composed(f"{relation}, same device"))

    return [linked(event) for event in events]
