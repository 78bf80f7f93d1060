"""Asserts what a new field `site` does everywhere, in a copy of the project; see tests/test_new_parts.py.

`python new_field_probe.py COPY`
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from support.builders import NOW, environment, list_of, listed, page_bytes, wire_row
from support.golden_history import ALWAYS, held_by_past
from support.memory_history import recorded
from support.recording import decode_event, encode_event
from support.tracked_environments import context_in, tracked

import envwatch
from envwatch.demo.fleet import DemoFleet
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.profile_state import ProfileState
from envwatch.history.encoding.frames import FORMAT_VERSION, FrameEncoder, MomentBuilder
from envwatch.history.redaction import Redaction
from envwatch.history.stored import RecordedFile
from envwatch.model.clock import WallMs
from envwatch.model.environment import wire_row as row_to_send
from envwatch.model.page import environment_of, page_of
from envwatch.model.text import clean
from envwatch.model.times import TimeStyle
from envwatch.query.completion import completions
from envwatch.query.language import parse
from envwatch.query.presentation import MatchContext
from envwatch.wording.output import formats
from envwatch.wording.pane.details import about_lines
from envwatch.wording.table.baseline import differences
from envwatch.wording.table.columns import COLUMNS

if TYPE_CHECKING:
    from envwatch.model.environment import Environment

HOSTILE = "eu\x1b]0;pwned\x07\x9b31m\u202e-1"
SAFE = clean(HOSTILE)


def site_of(row: Environment) -> str | None:
    site: str | None = row.site  # type: ignore[attr-defined]  # only the copy has the field
    return site


def decoded_and_served() -> None:
    whole = wire_row(site=HOSTILE)
    for sent in (whole, whole | {"unknown": 1}):  # an unknown field makes the reader take a page row by row
        (row,) = page_of(page_bytes([sent])).environments
        assert site_of(row) == SAFE
        assert "site" not in row.unknown
        served = row_to_send(row)
        assert served["site"] == SAFE
        assert environment_of(served) == row


def recorded_and_replayed() -> None:
    others = [environment(f"env-{number}", site=f"us-{number}") for number in range(12)]
    gone = [environment(row.id, connectionId=None, site=site_of(row)) for row in others]
    history = recorded([listed([environment("env-x", site=HOSTILE), *others]), listed(gone, NOW + 5_000)])
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    for poll in history.polls(WallMs(0), WallMs(NOW * 2)):
        moment = history.moment(poll)
        decoder.apply(encoder.encode(moment))
        assert decoder.moment() == moment
        redacted = Redaction().moment(moment).profile_state.environments.values()
        sites = [site_of(each.environment) for each in redacted]
        assert all(site is not None and site.startswith("text-") for site in sites)
    events = history.events(WallMs(0), WallMs(NOW * 2))
    assert events
    assert [decode_event(encode_event(event), NO_PROFILE) for event in events] == [*events]


def older_recordings_open(copy: Path) -> None:
    golden = copy / "tests/history/golden"
    expected = json.loads((golden / f"version-{FORMAT_VERSION}.json").read_text(encoding="utf-8"))
    with closing(RecordedFile(golden / f"version-{FORMAT_VERSION}.recording")) as past:
        held = held_by_past(past)
        assert {part: held[part] for part in expected} == expected
        rows = chain.from_iterable(
            moment.profile_state.environments.values() for moment in map(past.moment, past.polls(*ALWAYS))
        )
        assert {site_of(each.environment) for each in rows} == {None}


def drawn_and_found() -> None:
    one, now = tracked(site=HOSTILE), float(NOW)
    assert COLUMNS["site"].text(one) == SAFE
    assert "site" in [*COLUMNS][-2:], "another test adds a computed column"
    assert parse("site:eu*-1").test(MatchContext(now), ())(one)
    assert not parse("site:us*").test(MatchContext(now), ())(one)
    assert parse("site:none").test(MatchContext(now), ())(tracked())
    assert "site:" in {offer.text for offer in completions("sit", 3, [])}
    lines = {line.label: line.text for line in about_lines(one, context_in(ProfileState()), None, TimeStyle.UTC)}
    assert lines["site"] == SAFE
    assert [(each.field, each.after) for each in differences(tracked(), one)] == [("site", SAFE)]


def printed() -> None:
    listing = list_of(listed([environment(site=HOSTILE)], NOW))
    (row,) = json.loads(b"".join(formats.listing_json(listing)))["environments"]
    assert [*row.items()][-1] == ("site", SAFE)
    header, line = b"".join(formats.csv_of(listing)).decode().splitlines()
    assert (header.split(",")[-1], line.split(",")[-1]) == ('"site"', f'"{SAFE}"')


def simulated() -> None:
    at = int(NOW)
    fleet = DemoFleet(40, at)
    rows, _ = fleet.page(at, limit=None)
    assert {json.loads(row)["site"] for row in rows} == {"eu-1", "us-1"}


if __name__ == "__main__":
    copy = Path(sys.argv[1])
    assert Path(envwatch.__file__).is_relative_to(copy)
    decoded_and_served()
    recorded_and_replayed()
    older_recordings_open(copy)
    drawn_and_found()
    printed()
    simulated()
