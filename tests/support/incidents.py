"""An incident made of losses, without a monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.fleet.alerting.incidents import Incident
from envwatch.fleet.alerting.losses import key_of
from envwatch.model.clock import MonotonicS
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.fleet.events import Event


def incident_of(*losses: Event) -> Incident:
    return Incident(
        id=clean(f"inc-{losses[0].id}"),
        profile=losses[0].profile,
        began_at=losses[0].at,
        losses=losses,
        noticed_at=MonotonicS(0.0),
        remaining=frozenset(map(key_of, losses)),
    )
