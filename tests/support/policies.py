"""Alert policies with short times, for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE

if TYPE_CHECKING:
    from envwatch.model.text import SafeText


def soon(**settings: Any) -> dict[SafeText, AlertPolicy]:
    """Return the policy of a single profile: losses count after ten seconds."""
    return {NO_PROFILE: AlertPolicy(alert_after=timedelta(seconds=10), **settings)}
