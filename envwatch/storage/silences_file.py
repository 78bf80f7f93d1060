"""The state file of silences, which the dashboard and `envwatch silence` share.

Owns its bounds, and notices when another process has changed it. The JSON form belongs to `fleet.silences`.
"""

from __future__ import annotations

import errno
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.alerting.acknowledgements import finite_number
from envwatch.fleet.alerting.silences import content_of, silences_of
from envwatch.storage.state_file import ChangedFile, StateFile, StateFormat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from envwatch.fleet.alerting.silences import MatcherOf, Silence, Silences
    from envwatch.model.text import SafeText

MOST_SILENCES: Final = 1_000
"""Silences in the file at most; a further one is refused, as an old one must not end early."""


def _with_silences(content: dict[str, Any], changes: Mapping[SafeText, Silence | None]) -> dict[str, Any]:
    new = {id_: silence for id_, silence in changes.items() if silence is not None}
    # Unknown entries stay: a newer envwatch may have written them. Those that ended before a new one began are over.
    newest = max((silence.at for silence in new.values()), default=float("-inf"))
    kept = {id_: entry for id_, entry in content.items() if id_ not in changes and not _ended_by(entry, newest)}
    following = kept | content_of(new)
    if new and (len(following) > MOST_SILENCES or len(json.dumps(following, indent=2)) + 1 > SILENCES.limit):
        raise OSError(errno.EFBIG, "there are too many silences")
    return following


def _ended_by(entry: object, at: float) -> bool:
    until = finite_number(entry.get("until")) if isinstance(entry, dict) else None
    return until is not None and until <= at


SILENCES: Final = StateFormat(about="which environments are silenced", limit=4 << 20, changed=_with_silences)


def silences_in(path: Path, matcher_of: MatcherOf) -> Silences:
    """Return the silences in a file: none, where it is missing or damaged."""
    return silences_of(SILENCES.read_or_empty(path), matcher_of)


class SilencesFile(StateFile):
    """The file of silences (`Silence`), by their ids."""

    format = SILENCES


class SilencesReader(ChangedFile["Silences"]):
    """Reads the silences again when the file has changed.

    Args:
        path: the file, which need not exist.
        matcher_of: makes a test of a query.
    """

    def __init__(self, path: Path, matcher_of: MatcherOf) -> None:
        super().__init__(path, partial(silences_in, matcher_of=matcher_of))
