"""What the serving host knows of an environment, given to viewers as one more field of its row.

Pure. Stock clients ignore an unknown field, and envwatch shows it. Nothing that a viewer judges depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.fleet.alerting.acknowledgements import NO_ACKS, own_acks
from envwatch.fleet.alerting.silences import NO_SILENCES, silencing
from envwatch.model.text import EMPTY, SafeText

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from envwatch.fleet.alerting.acknowledgements import Acks
    from envwatch.fleet.alerting.silences import Silences
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.clock import Clocks

SharedMark: TypeAlias = "Mapping[str, JsonValue]"
"""The value of the field: `{"ack": {"by", "at", "note"}, "silence": {"by", "until", "reason"}}`, either or both."""

SharedMarks: TypeAlias = "Mapping[SafeText, SharedMark]"
"""By the environment's id; only environments with an acknowledgement or a silence."""

NO_SHARED_MARKS: Final[SharedMarks] = MappingProxyType({})


NO_NAME: Final = EMPTY


@dataclass(frozen=True, slots=True)
class SharedState:
    """What users of the serving host have said of environments."""

    name: SafeText = NO_NAME
    """How the host calls itself: the setting `serve_name`."""
    acks: Acks = field(default_factory=lambda: NO_ACKS)
    silences: Silences = field(default_factory=lambda: NO_SILENCES)

    def holding(self, now: Clocks) -> frozenset[SafeText]:
        """Return the ids of the silences that hold at a moment."""
        return frozenset(id_ for id_, silence in self.silences.items() if silence.holds(now.wall))

    def marks(self, profile_state: ProfileState, now: Clocks) -> SharedMarks:
        """Return the marks of a profile's environments at a moment."""
        found: dict[SafeText, dict[str, JsonValue]] = {}
        for id_, ack in own_acks(self.acks, profile_state.server, profile_state.environments).items():
            found[id_] = {"ack": {"by": self.name, "at": _instant(ack.at), "note": ack.note}}
        if not self.holding(now):
            return found
        at = profile_state.clock.server_time(now.wall)
        for id_, tracked in profile_state.environments.items():
            silence = silencing(self.silences, tracked, profile_state.server, now.wall, at)
            if silence is not None:
                silence_mark: dict[str, JsonValue] = {
                    "by": self.name,
                    "until": _instant(silence.until),
                    "reason": silence.note,
                }
                found[id_] = {**found.get(id_, {}), "silence": silence_mark}
        return found


NOTHING_SHARED: Final = SharedState()


def _instant(at: float) -> float:
    """Return milliseconds since the epoch as the API sends them: a whole number, where it is one."""
    return int(at) if at.is_integer() else at
