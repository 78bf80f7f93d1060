"""Asserts what the new fields `site`, `cores` and `has_gpu` do everywhere, in a copy of the project.

See tests/test_new_parts.py.

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
from envwatch.model.page import parse_environment, parse_page
from envwatch.model.text import clean
from envwatch.model.times import TimeStyle
from envwatch.query.completion import completions
from envwatch.query.language import parse
from envwatch.query.presentation import MatchContext
from envwatch.views.output import formats
from envwatch.views.pane.details import about_lines
from envwatch.views.table.baseline import differences
from envwatch.views.table.columns import COLUMNS

if TYPE_CHECKING:
    from envwatch.model.environment import Environment

HOSTILE = "eu\x1b]0;pwned\x07\x9b31m\u202e-1"
SAFE = clean(HOSTILE)


def site_of(row: Environment) -> str | None:
    site: str | None = row.site  # type: ignore[attr-defined]  # only the copy has the field
    return site


def size_of(row: Environment) -> tuple[float | None, bool | None]:
    return row.cores, row.has_gpu  # type: ignore[attr-defined]  # only the copy has the fields


def decoded_and_served() -> None:
    whole = wire_row(site=HOSTILE, cores=12, hasGpu=False)
    for sent in (whole, whole | {"unknown": 1}):  # an unknown field makes the reader take a page row by row
        (row,) = parse_page(page_bytes([sent])).environments
        assert site_of(row) == SAFE
        assert size_of(row) == (12.0, False)
        assert row.unknown.keys().isdisjoint({"site", "cores", "hasGpu"})
        served = row_to_send(row)
        assert served["site"] == SAFE
        assert repr((served["cores"], served["hasGpu"])) == "(12, False)"
        assert parse_environment(served) == row
    page = parse_page(page_bytes([wire_row("env-1", cores="12"), wire_row("env-2", hasGpu=1), wire_row("env-3")]))
    assert [row.id for row in page.environments] == ["env-3"]
    assert page.rejected_ids == ("env-1", "env-2")


def recorded_and_replayed() -> None:
    others = [
        environment(f"env-{number}", site=f"us-{number}", cores=number / 2, hasGpu=number > 3) for number in range(12)
    ]
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
        shown = moment.profile_state.environments.values()
        assert [size_of(each.environment) for each in redacted] == [size_of(each.environment) for each in shown]
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
        assert {(site_of(each.environment), *size_of(each.environment)) for each in rows} == {(None, None, None)}


def drawn_and_found() -> None:
    one, now = tracked(site=HOSTILE, cores=12, hasGpu=False), float(NOW)
    context = context_in(ProfileState())
    assert [COLUMNS[name].cell_text(one, context) for name in ("site", "cores", "gpu")] == [SAFE, "12", "no"]
    assert [COLUMNS[name].cell_text(tracked(), context) for name in ("site", "cores", "gpu")] == [None] * 3
    assert parse("site:eu*-1").test(MatchContext(now), ())(one)
    assert not parse("site:us*").test(MatchContext(now), ())(one)
    assert parse("site:none").test(MatchContext(now), ())(tracked())
    for found, missed in (("cores:>=12", "cores:<12"), ("cores:8..12.5", "cores:none"), ("gpu:no", "gpu:yes")):
        assert parse(found).test(MatchContext(now), ())(one)
        assert not parse(missed).test(MatchContext(now), ())(one)
    assert not parse("gpu:no").test(MatchContext(now), ())(tracked())
    assert parse("cores:none").test(MatchContext(now), ())(tracked())
    assert "site:" in {offer.text for offer in completions("sit", 3, [])}
    lines = {line.label: line.text for line in about_lines(one, context, None, TimeStyle.UTC)}
    assert (lines["site"], lines["cores"], lines["gpu"]) == (SAFE, "12", "no")
    changed = {each.field: each.after for each in differences(tracked(), one)}
    assert changed == {"site": SAFE, "cores": "12", "has_gpu": "no"}


def printed() -> None:
    listing = list_of(listed([environment(site=HOSTILE, cores=12, hasGpu=False)], NOW))
    (row,) = json.loads(b"".join(formats.listing_json(listing)))["environments"]
    assert [*row.items()][-3:] == [("site", SAFE), ("cores", 12), ("has_gpu", False)]
    header, line = b"".join(formats.encode_csv(listing)).decode().splitlines()
    assert header.endswith('"site","cores","has_gpu"')
    assert line.endswith(f'"{SAFE}","12","false"')


def simulated() -> None:
    at = int(NOW)
    fleet = DemoFleet(40, at)
    rows, _ = fleet.page(at, limit=None)
    found = [json.loads(row) for row in rows]
    assert {(row["site"], row["cores"], row["hasGpu"]) for row in found} == {("eu-1", 8, True), ("us-1", 64, False)}


if __name__ == "__main__":
    copy = Path(sys.argv[1])
    assert Path(envwatch.__file__).is_relative_to(copy)
    decoded_and_served()
    recorded_and_replayed()
    older_recordings_open(copy)
    drawn_and_found()
    printed()
    simulated()
