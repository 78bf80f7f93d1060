"""The state file of open incidents, which hooks need in the next run; see `fleet.kept_incidents` for its JSON form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.finite import finite_number
from envwatch.fleet.kept_incidents import content_of
from envwatch.storage.state_file import StateFile, StateFormat, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.kept_incidents import KeptIncident
    from envwatch.model.text import SafeText

MOST_INCIDENTS: Final = 1_000
"""Incidents in the file at most: the newest."""


def _with_incidents(content: dict[str, Any], changes: Mapping[SafeText, KeptIncident | None]) -> dict[str, Any]:
    entries = {id_: entry for id_, entry in content.items() if id_ not in changes and isinstance(entry, dict)}
    entries |= {id_: content_of(kept) for id_, kept in changes.items() if kept is not None}
    newest_first = sorted(entries.items(), key=lambda item: finite_number(item[1].get("began_at")) or 0.0, reverse=True)
    return within(INCIDENTS.limit, dict(newest_first[:MOST_INCIDENTS]))


INCIDENTS: Final = StateFormat(about="which incidents are open", limit=8 << 20, changed=_with_incidents)


class IncidentsFile(StateFile):
    """The file of open incidents (`KeptIncident`), by their ids."""

    format = INCIDENTS
