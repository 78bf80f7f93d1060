"""What an event says of a newcomer whose device has a row already. Pure; `replacement` decides what replaces what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envwatch.fleet.events import Event, Kind
from envwatch.model.text import SafeText, composed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.tracking import TrackedEnvironment


def named_by_device(events: list[Event], environments: Mapping[SafeText, TrackedEnvironment]) -> list[Event]:
    """Return the events; a newcomer on a device that is listed already is named with a row of that device."""
    newcomers = {event.id for event in events if event.kind is Kind.APPEARED}
    if not newcomers:
        return events
    on_device: dict[SafeText, list[TrackedEnvironment]] = {}
    replaced: dict[SafeText, SafeText] = {}
    for id_, tracked in environments.items():
        if tracked.replaced_by is not None:
            replaced[tracked.replaced_by] = tracked.environment.label
        if id_ not in newcomers:
            on_device.setdefault(tracked.environment.device_id, []).append(tracked)

    def linked(event: Event) -> Event:
        if event.kind is not Kind.APPEARED or event.id is None:
            return event
        others = on_device.get(environments[event.id].environment.device_id, [])
        if not others:
            return event
        if (old := replaced.get(event.id)) is not None:
            return replace(event, reason=composed(f"replaces {old}, same device"))
        # A row that this listing lacks may be the same machine under its old id.
        twin = next((tracked for tracked in others if tracked.verdict.is_up and not tracked.absent), None)
        relation = "beside" if twin is None else "twin of"
        return replace(event, reason=composed(f"{relation} {(twin or others[-1]).environment.label}, same device"))

    return [linked(event) for event in events]
