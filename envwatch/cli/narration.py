"""What a command without a screen says of its polls on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.cli.streams import print_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.cli.monitoring import Step
    from envwatch.model.text import Clean
    from envwatch.sources.session import Target


def polled(targets: Mapping[Clean, Target]) -> str:
    """Return which servers are polled, and how often."""
    parts = [
        f"{target.host} every {target.poller.interval.total_seconds():g} s (profile {target.profile})"
        for target in targets.values()
    ]
    return ", ".join(parts)


def narrate(step: Step) -> None:
    """Say when nothing can be seen, and when it can be again."""
    from envwatch.views.event_text import event_text

    for event in step.update.events:
        if event.id is None and not event.members:
            profile = f"{event.profile}: " if event.profile else ""
            print_error(f"envwatch: {profile}{event_text(event)}")
