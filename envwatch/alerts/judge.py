"""The judge: who pages at a moment and why, who is silenced and until when, and what became of a loss.

Incidents, hooks, the table, `check` and `serve` ask one value, so that no two channels answer differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from envwatch.alerts import losses, silences
from envwatch.alerts.alert_policy import DEFAULT_POLICY, Rule, word_for
from envwatch.alerts.incident import ids_of_losses
from envwatch.alerts.losses import LossStatus, key_of
from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import Freshness
from envwatch.model import limits
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import EMPTY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from envwatch.alerts.acknowledgements import Acks
    from envwatch.alerts.alert_policy import AlertPolicy, Decision, Words
    from envwatch.alerts.incident import Incident
    from envwatch.alerts.losses import Key, Loss
    from envwatch.alerts.silences import Silenced, Silences
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.acks import Ack
    from envwatch.model.clock import Clocks, ServerMs
    from envwatch.model.text import SafeText


class Marks(NamedTuple):
    """What people have decided about environments."""

    acks: Acks
    silences: Silences
    words: Words


@dataclass(frozen=True)
class Judge:
    """All that decides whether a loss needs a person, at one moment."""

    fleet: Fleet
    policies: Mapping[SafeText, AlertPolicy]
    marks: Marks
    waiting: Sequence[Loss]
    open: Sequence[Incident]
    recorded: Collection[SafeText]
    """Profiles with a record of uptimes."""
    now: Clocks

    @cached_property
    def moments(self) -> Mapping[SafeText, ServerMs]:
        """The moment by each server's clock, by profile."""
        return self.fleet.moments(self.now.wall)

    @cached_property
    def lost(self) -> frozenset[Key]:
        """Environments with a waiting loss or an open incident."""
        return frozenset(ids_of_losses(self.waiting, self.open))

    def policy_of(self, profile: SafeText) -> AlertPolicy:
        """Return a profile's alert policy."""
        return self.policies.get(profile, DEFAULT_POLICY)

    @property
    def has_silences(self) -> bool:
        """Whether any silence is known."""
        return bool(self.marks.silences) or any(policy.recurring for policy in self.policies.values())

    def decision_of(self, tracked: TrackedEnvironment) -> Decision:
        """Return whether losses need a person now, and why."""
        word = word_for(self.marks.words, self.fleet.server_of(tracked.profile), tracked.environment.id)
        return self.policy_of(tracked.profile).decision(tracked, word, self.moments[tracked.profile])

    def decision_by_rule(self, tracked: TrackedEnvironment) -> Decision:
        """Return the decision without a person's word."""
        return self.policy_of(tracked.profile).decision(tracked, None, self.moments[tracked.profile])

    def is_judged_by_system(self, profile: SafeText) -> bool:
        """Whether `Rule.SYSTEM` decides about rows of a profile."""
        if self.policy_of(profile).alert is not None or profile in self.recorded:
            return False
        rows = self.fleet.by_profile[profile].environments.values()
        return any(self.decision_by_rule(row).rule is Rule.SYSTEM for row in rows)

    def ack_of(self, tracked: TrackedEnvironment) -> Ack | None:
        """Return the acknowledgement in force, this machine's or the serving host's.

        A row that came back a moment ago shows none, although the acknowledgement outlasts a brief return.
        """
        if tracked.is_well:
            return None
        own = self.marks.acks.get((self.fleet.server_of(tracked.profile), tracked.environment.id))
        return shared_ack_of(tracked.environment) if own is None else own

    def is_acked(self, tracked: TrackedEnvironment) -> bool:
        """Whether an environment is acknowledged."""
        return self.ack_of(tracked) is not None

    def acked_losses(self) -> frozenset[Key]:
        """Return the keys of the waiting losses whose rows are acknowledged."""
        keys = (key_of(loss.event) for loss in self.waiting)
        rows = (self.fleet.tracked(key) for key in keys)
        return frozenset(row.key for row in rows if row is not None and self.is_acked(row))

    def is_incident_acked(self, incident: Incident) -> bool:
        """Whether all lost rows of an incident are acknowledged; False while the rows are unseen."""
        if incident.is_blindness:
            return self.blindness_ack_of(incident) is not None
        if not self.sees(incident.profile):
            return False
        rows = [self.fleet.tracked(key) for key in incident.remaining]
        return all(row is not None and self.is_acked(row) for row in rows)

    def blindness_ack_of(self, incident: Incident) -> Ack | None:
        """Return the acknowledgement of a blindness, whose id of a row is empty.

        Processes notice a blindness at different times, so the acknowledgement covers each that began before.
        """
        if not incident.is_blindness:
            return None
        ack = self.marks.acks.get((self.fleet.server_of(incident.profile), EMPTY))
        return ack if ack is not None and ack.at >= incident.began_at else None

    def silenced_time(self, tracked: TrackedEnvironment, off_at: float | None = None) -> Silenced | None:
        """See `silences.silenced_time`."""
        recurring = self.policy_of(tracked.profile).recurring
        if not self.marks.silences and not recurring:
            return None
        profile_state = self.fleet.for_environment(tracked)
        return silences.silenced_time(tracked, profile_state, self.marks.silences, recurring, self.now.wall, off_at)

    def silenced(self, tracked: TrackedEnvironment) -> Silenced | None:
        """Return an environment's silenced time in force."""
        found = self.silenced_time(tracked)
        return found if self.is_in_force(found, tracked) else None

    def is_in_force(self, silenced: Silenced | None, tracked: TrackedEnvironment) -> bool:
        """Whether a silenced time lasts on. A recurring silence covers no row of an open incident."""
        if silenced is None or silenced.until <= self.moments[tracked.profile]:
            return False
        if silenced.silence.hours is None:
            return True
        return not any(tracked.key in incident.remaining for incident in self.open)

    def counted_from(self, tracked: TrackedEnvironment) -> float | None:
        """See `silences.counted_from`."""
        return silences.counted_from(self.silenced_time(tracked), tracked)

    def is_alerting(self, tracked: TrackedEnvironment) -> bool:
        """Whether an unacknowledged, unsilenced problem needs a person."""
        silenced = self.silenced_time(tracked)
        return (
            is_problem(tracked, self.moments[tracked.profile], silences.counted_from(silenced, tracked))
            and not self.is_acked(tracked)
            and self.decision_of(tracked).counts
            and not self.is_in_force(silenced, tracked)
        )

    def is_loud(self, tracked: TrackedEnvironment) -> bool:
        """Whether losses need a person and are not silenced."""
        return self.decision_of(tracked).counts and self.silenced(tracked) is None

    def may_page(self, key: Key) -> bool:
        """Whether a loss may need a person; so may the loss of a row that is unknown now."""
        tracked = self.fleet.tracked(key)
        return tracked is None or self.is_loud(tracked)

    def sees(self, profile: SafeText) -> bool:
        """Whether a profile's newest listing counts: not while blind, quarantined or asleep."""
        profile_state = self.fleet.by_profile[profile]
        return (
            profile_state.quarantine is None
            and profile_state.unseen_since is None
            and profile_state.freshness(self.now) is not Freshness.BLIND
        )

    def status_of(self, key: Key) -> LossStatus:  # noqa: PLR0911  one return for each status
        """Return what became of a loss."""
        profile, id_ = key
        if not id_:
            return self._status_of_blindness(profile)
        if not self.sees(profile):
            return LossStatus.UNSEEN
        profile_state = self.fleet.by_profile[profile]
        tracked = profile_state.environments.get(id_)
        if tracked is None:
            # Either the run before knew the row, or the inventory no longer expects the row.
            is_unproven = id_ in profile_state.last_run.rows or profile_state.listings < limits.LISTINGS_TO_GONE
            return LossStatus.UNSEEN if is_unproven else LossStatus.OVER
        decision = self.decision_of(tracked)
        if decision.is_never:
            return LossStatus.OVER
        if profile_state.is_unproven(tracked):
            return LossStatus.UNSEEN
        silenced = self.silenced_time(tracked)
        status = losses.loss_status(
            tracked,
            self.moments[profile],
            is_acked=self.is_acked(tracked),
            is_news=key in self.lost,
            counts_from=silences.counted_from(silenced, tracked),
        )
        if status is LossStatus.ALERTING and not decision.counts:
            return LossStatus.OUTSIDE
        if status is LossStatus.ALERTING and self.is_in_force(silenced, tracked):
            return LossStatus.SILENCED
        return status

    def _status_of_blindness(self, profile: SafeText) -> LossStatus:
        status = losses.status_of_blindness(self.fleet.by_profile[profile], self.now)
        of_profile = (incident for incident in self.open if incident.profile == profile)
        is_acked = any(self.blindness_ack_of(incident) is not None for incident in of_profile)
        return LossStatus.SETTLED if status is LossStatus.ALERTING and is_acked else status
