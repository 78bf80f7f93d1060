"""A block line's words: state, count, fitting names, reason and acknowledgements; and the terminal's title."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.block_night import DAY, BlockNight
from support.budget import examples
from support.builders import NOW
from support.tracked_environments import offline

from envwatch.alerts.acknowledgements import blindness_ack
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.presence import Presence
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, cells, clean
from envwatch.views.pane.group_details import member_line
from envwatch.views.table.block import Aside, Block, BlockLine
from envwatch.views.table.block_text import (
    line_age_text,
    line_names_text,
    line_state,
    nothing_open_text,
    several_text,
    why_text,
    window_title,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


WORK, HOME = map(clean, ("work", "home"))


def line_of(names: Iterable[str], *, shared: str | None = None, returned: bool = False) -> BlockLine:
    rows = tuple(map(offline, names))
    return BlockLine(
        key=("incident", "work", "one"),
        profile=WORK,
        off=() if returned else rows,
        returned=rows if returned else (),
        total=len(rows),
        began_at=WallMs(NOW),
        noticed_at=WallMs(NOW),
        shared=None if shared is None else clean(shared),
    )


def named(line: BlockLine, room: int, *, has_profiles: bool = False, ellipsis: str = "…") -> str:
    return line_names_text(line, frozenset(), room, has_profiles=has_profiles, ellipsis=ellipsis)


def said(one: BlockNight, place: int = 0) -> tuple[str, str, str]:
    line = one.block.lines[place]
    _, words = line_state(line, one.monitor, one.clocks)
    return words, line_age_text(line, one.clocks.wall), why_text(line, one.monitor.judge(one.clocks))


def test_blindness_is_the_first_line_of_the_block_and_sinks_when_acknowledged() -> None:
    one = BlockNight().poll("a+ b+", after=0).poll("a+ bx").fail().wait(100).wait(900)
    blind, loss = one.block.lines
    assert (said(one)[0], blind.members, blind.is_open) == ("envwatch", (), True), "a machine is accused"
    assert named(blind, 30).startswith("envwatch is blind: ")
    assert one.block.newest is blind
    assert window_title(one.block, 0, clean("acme"), ascii_only=False) == "? 1 envwatch acme"
    one.monitor = one.monitor.with_acks({(EMPTY, EMPTY): blindness_ack(NOW + one.now * 1000, clean("on it"))})
    one.wait(1)
    assert [line.key for line in one.block.lines] == [loss.key, blind.key]
    assert said(one, 1)[2] == "acked: on it"
    assert window_title(one.block, 0, clean("acme"), ascii_only=False) == "? acme"


def test_a_single_loss_and_several_say_state_duration_and_reason() -> None:
    one = BlockNight().poll("a+ b+ c+", after=0).poll("ax b+ c+")
    assert said(one) == ("off", "0s", "disconnected")
    assert said(one.wait(8)) == ("off", "8s", "disconnected")
    assert said(one.poll("ax bx c+")) == ("2 off", "0s", "disconnected")
    assert said(one.poll("a+ bx c+")) == ("1 of 2 off", "5s", "disconnected")


def test_a_return_says_how_many_are_back_and_for_how_long() -> None:
    one = BlockNight().poll("a+ b+", after=0).poll("ax b+").poll("a+ b+").wait(7)
    assert said(one) == ("back", "7s", "")
    one = BlockNight().poll("a+ b+ c+", after=0).poll("ax bx c+").poll("a+ bx c+").poll("a+ b+ c+").wait(7)
    assert said(one) == ("2 back", "7s", "")
    one = BlockNight().poll("a+ b+ c+ d+", after=0).poll("ax bx cx d+").silence("c").poll("a+ b+ cx d+")
    assert said(one) == ("2 of 3 back", "0s", "")


def test_members_with_several_reasons_are_counted_by_reason_and_with_several_states_are_lost() -> None:
    one = BlockNight().poll("up+ a+ b+ c+", after=0).poll("up+ ax bx ch", after=150)
    assert said(one)[0] == "3 off"
    assert said(one)[2].startswith("2 disconnected · 1 ")
    one = BlockNight().poll("up+ a+ b+", after=0).poll("up+ a-  bx").poll("up+ a- bx")
    assert said(one)[0] == "2 lost"


def test_while_blind_a_line_keeps_its_word_and_looks_unknown() -> None:
    one = BlockNight().poll("a+ b+", after=0).poll("ax b+")
    look, words = line_state(one.block.lines[0], one.monitor, one.clocks)
    one.fail(after=600)
    blind, unknown = line_state(one.block.lines[0], one.monitor, one.clocks)
    assert words == unknown == "off"
    assert (look.style, blind.style) == ("offline", "unknown")


def test_an_acknowledged_line_quotes_the_notes_of_all() -> None:
    one = BlockNight().poll("a+ b+ c+ d+ e+", after=0).poll("ax bx cx dx e+")
    one.ack("a", "b", "c", note="disk swap")
    assert [said(one, place)[2] for place in (0, 1)] == ["disconnected", "acked: disk swap"]
    assert said(one.ack("b", note="other"), 1)[2] == "acked: disk swap, other"
    assert said(BlockNight().poll("ax b+", after=0).ack("a"))[2] == "acked"
    marks = {"a": {"envwatch": {"ack": {"by": "ana", "at": 1, "note": "disk"}}}}
    one = BlockNight(changes=marks).poll("ax b+", after=0)
    assert said(one)[2] == "acked by ana: disk"


def test_a_member_has_a_line_with_state_duration_name_reason_and_note() -> None:
    one = BlockNight().poll("a+ b+ c+", after=0).poll("ax bx c+").ack("b", note="disk").wait(8)
    a, b = (line.off[0] for line in one.block.lines)
    lines = [
        member_line(each, one.monitor, one.clocks, is_ascii=is_ascii) for each in (a, b) for is_ascii in (True, False)
    ]
    assert [(line.label, line.text) for line in lines] == [
        ("x <1m", "a · disconnected"),
        ("○ <1m", "a · disconnected"),
        ("x <1m", "b · disconnected · acked: disk"),
        ("○ <1m", "b · disconnected · acked: disk"),
    ]
    assert [line.style for line in lines[1:3]] == ["offline", ""]
    twin = member_line(a, one.monitor, one.clocks, is_ascii=False, ambiguous=frozenset({clean("a")}))
    assert twin.text == "a a · disconnected"


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (60, "pod p-7: web-1, web-2, web-3, web-4"),
        (35, "pod p-7: web-1, web-2, web-3, web-4"),
        (34, "pod p-7: web-1, web-2 and 2 more"),
        (25, "pod p-7: web-1 and 3 more"),
        (24, "web-1, web-2 and 2 more"),
        (16, "web-1 and 3 more"),
        (15, "web-1 +3"),
        (7, "we…1 +3"),
        (3, "4"),
    ],
)
def test_as_many_names_as_fit_follow_the_shared_values(room: int, text: str) -> None:
    assert named(line_of(["web-1", "web-2", "web-3", "web-4"], shared="pod p-7"), room) == text


def test_a_single_name_is_shortened_in_its_middle_and_an_equal_name_has_a_part_of_its_id() -> None:
    line = line_of(["bjorn-home-server-12"], shared="pod p-7")
    assert named(line, 20) == "bjorn-home-server-12"
    assert named(line, 11) == "bjorn-h…-12"
    assert named(line, 11, ellipsis="~") == "bjorn-h~-12"
    line = line_of([f"web-{number}" for number in range(1_201)])
    assert named(line, 20) == "web-0 and 1,200 more"
    assert line_state(line, Monitor(), BlockNight().clocks)[1] == "1,201 off"
    line = line_of(["web-1", "web-2"])
    text = line_names_text(line, frozenset({clean("web-1")}), 60, has_profiles=False, ellipsis="…")
    assert text == "web-1 env, web-2"


def test_the_profile_is_named_where_there_are_several() -> None:
    line = line_of(["web-1", "web-2"], shared="pod p-7")
    assert named(line, 60, has_profiles=True) == "work pod p-7: web-1, web-2"
    assert named(line, 20, has_profiles=True) == "work web-1, web-2"
    assert named(line, 13, has_profiles=True) == "work web-1 +1"
    assert named(line, 12, has_profiles=True) == "web-1 +1"
    long = line_of(["a-rather-long-name-of-a-machine"])
    assert named(long, 25, has_profiles=True) == "work a-rather-long-na…ine"
    assert named(long, 24, has_profiles=True) == "a-rather-long-name-…hine"


@pytest.mark.parametrize(
    ("names", "room", "text"),
    [
        (["bjorn-home-server-12"], 8, "bjorn-home-server-12"),
        (["web-1", "web-2"], 40, "web-1 and web-2"),
        (["web-1", "web-2"], 14, "web-1 and 1 more"),
        (["web-1", "web-2", "web-3"], 40, "web-1, web-2 and web-3"),
        (["web-1", "web-2", "web-3"], 21, "web-1 and 2 more"),
        (["web-1", "web-2", "web-3", "web-4"], 29, "web-1, web-2, web-3 and web-4"),
        (["web-1", "web-2", "web-3", "web-4"], 28, "web-1, web-2 and 2 more"),
        (["bjorn-home-server-12", "web-2"], 11, "bjorn-h…-12 and 1 more"),
        ([f"web-{n}" for n in range(1_500)], 24, "web-0 and 1,499 more"),
    ],
)
def test_a_question_names_as_many_environments_as_fit(names: list[str], room: int, text: str) -> None:
    assert several_text([offline(name) for name in names], room=room) == text


NAMES = st.lists(st.text("abc-界", min_size=1, max_size=30), min_size=1, max_size=120)


@given(
    names=NAMES,
    room=st.integers(1, 100),
    shared=st.none() | st.just("pod p-7"),
    has_profiles=st.booleans(),
    returned=st.booleans(),
)
@settings(max_examples=examples(1_000), deadline=None)
def test_the_names_never_take_more_than_their_room_and_never_hide_how_many_there_are(
    *, names: list[str], room: int, shared: str | None, has_profiles: bool, returned: bool
) -> None:
    text = named(line_of(names, shared=shared, returned=returned), room, has_profiles=has_profiles)
    assert 0 < cells(text) <= room
    if text.isdecimal():
        assert int(text) == len(names)
        return
    if room < len(str(len(names))):
        return  # the state has the count
    hidden = re.search(r" and (\d+) more$| \+(\d+)$", text)
    count = int(hidden[1] or hidden[2]) if hidden else 0
    assert len(text.split(", ")) + count == len(names)


def answer_of(night: BlockNight) -> str:
    return nothing_open_text(night.block, night.monitor.fleet, night.clocks, UTC)


@pytest.mark.parametrize(
    ("rows", "acked", "silenced", "text"),
    [
        ("a+", "", "", "nothing pages"),
        ("ax b+", "a", "", "nothing pages: 1 acknowledged"),
        ("ax old-x b+", "a", "", "nothing pages: 1 acknowledged, 1 old"),
        ("ax bx c+", "a", "b", "nothing pages: 1 acknowledged, 1 silenced"),
        ("a? b+", "", "", "nothing pages: 1 unknown"),
        ("ax b+", "", "", "this is the only line that pages"),
    ],
)
def test_the_answer_names_what_there_is(rows: str, acked: str, silenced: str, text: str) -> None:
    one = BlockNight().poll(rows, after=0, lost={"old-": DAY}).ack(*acked).silence(*silenced)
    assert answer_of(one) == text


def test_the_answer_of_a_blind_fleet_says_since_when_needs_are_unknown() -> None:
    one = BlockNight()
    assert answer_of(one) == "no answer yet: whether something pages is unknown"
    one.poll("a+ b+", after=0).fail(after=600)
    assert answer_of(one) == "whether something pages is unknown since 08:53:20Z"
    lost = BlockNight().poll("ax b+", after=0)
    assert answer_of(lost.wait(60)) == "this is the only line that pages"
    assert answer_of(lost.wait(1)) == "whether something else pages is unknown since 08:53:20Z"
    assert answer_of(lost.poll("a+ b+")) == "nothing pages"


def test_one_profile_without_data_leaves_unknown_what_needs_a_person() -> None:
    one = BlockNight(Monitor.create({WORK: Limits(), HOME: Limits()})).poll("a+", after=0, profile=WORK)
    assert answer_of(one) == "no answer yet: whether something pages is unknown"
    one.poll("b+", after=30, profile=HOME).poll("b+", after=50, profile=HOME)
    assert answer_of(one) == "whether something pages is unknown since 08:53:20Z"
    one.wait(DAY)
    assert answer_of(one) == "whether something else pages is unknown since 2025-10-09 08:53Z"


# The terminal's title.


ON, LATE, OFF, GONE = Presence.ONLINE, Presence.LATE, Presence.OFFLINE, Presence.GONE


@pytest.mark.parametrize(
    ("block", "flapping", "unicode", "ascii_text"),
    [
        (Block(presences={ON: 40, LATE: 2, OFF: 5}, paging=5), 0, "○5 ◐2 acme", "x5 ~2 acme"),
        (Block(presences={ON: 40}, asides={Aside.OLD: 7}), 0, "●40 acme", "+40 acme"),
        (Block(presences={ON: 40, OFF: 1}, paging=1, asides={Aside.OLD: 6}), 0, "○1 acme", "x1 acme"),
        (Block(presences={ON: 9, LATE: 1, GONE: 3, OFF: 1}, paging=4), 0, "○4 ◐1 acme", "x4 ~1 acme"),
        (Block(presences={ON: 9}), 2, "≈2 acme", "w2 acme"),
        (Block(presences={ON: 40}, unknown=3), 0, "?3 acme", "?3 acme"),
        (Block(presences={OFF: 5}, paging=5), 0, "○5 ●0 acme", "x5 +0 acme"),
        (Block(presences={ON: 9, OFF: 5}, paging=3), 0, "○3 +2 acme", "x3 +2 acme"),
        (Block(presences={ON: 9}, asides={Aside.NOT_PAGING: 2, Aside.SILENCED: 1}), 0, "○+3 acme", "x+3 acme"),
        (Block(asides={Aside.OLD: 5}), 0, "●0 acme", "+0 acme"),
        (Block(unknown=57), 0, "? acme", "? acme"),
        (Block(), 0, "? acme", "? acme"),
    ],
)
def test_the_title_has_the_counts_of_the_status_line(
    block: Block, flapping: int, unicode: str, ascii_text: str
) -> None:
    assert window_title(block, flapping, clean("acme"), ascii_only=False) == unicode
    assert window_title(block, flapping, clean("acme"), ascii_only=True) == ascii_text
