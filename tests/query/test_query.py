"""The filter language by examples: matches and refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, reading
from support.tracked_environments import BARE, fleet_of, matches, tracked

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.presence import DISCONNECTED, GONE, MISSING
from envwatch.fleet.tracking import ChangeTag, RecentChange
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.query.language import parse, parse_argument, partial_query
from envwatch.query.lexer import QueryError
from envwatch.query.presentation import MatchContext
from envwatch.views.table.columns import COLUMNS

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment

SECOND = 1000


def finds(text: str, one: TrackedEnvironment) -> bool:
    return matches(parse(text, UTC), one)


def aged(seconds: float, **changes: Any) -> TrackedEnvironment:
    return tracked(lastHeartbeat=NOW - seconds * SECOND, **changes)


def off_for(seconds: float) -> TrackedEnvironment:
    return replace(aged(seconds, connectionId=None), verdict=DISCONNECTED, since_at=ServerMs(NOW - seconds * SECOND))


def changed(seconds: float) -> TrackedEnvironment:
    return replace(tracked(), last_change=RecentChange(ChangeTag.VERSION, ServerMs(NOW - seconds * SECOND)))


COMPOSED, TAKEN_APART = "Andr\u00e9-1", "Andre\u0301-1"

DETAILED = {
    "dotted.key": 1,
    "twice.dotted": {"key": 2},
    "odd: key": "x",
    "list": [1, [2], {"in": "Köln"}],
    "nothing": None,
    "": {"x": 3},
    "end.": {"x": 4},
}

CASES: dict[str, list[tuple[TrackedEnvironment, list[str], list[str]]]] = {
    "all words and terms must hold": [
        (
            tracked(connectionName="web-1"),
            ["", "  ", "web", "web mode:standard os:linux"],
            ["web mode:standard os:darwin", "api mode:standard os:linux"],
        )
    ],
    "terms on one field are alternatives": [
        (tracked(), ["os:darwin os:linux", "os:darwin,linux", "os:linux,darwin os:win32"], []),
        (
            tracked(metadata={"os": "freebsd"}),
            [],
            ["os:darwin os:linux", "os:darwin,linux", "os:linux,darwin os:win32"],
        ),
    ],
    "every negated term must hold": [
        (tracked(), ["!os:darwin !os:win32"], ["!os:darwin !os:linux", "!os:darwin,linux", "os:linux !os:linux"])
    ],
    "labels of the detail pane are fields": [
        (
            tracked(connectedAt=NOW - 3_600_000, apiKeyOwner=None),
            ["host:linux", "host:x64", "host:*ryzen*", "commands:abort", "connected:<2h", "key:none"],
            [
                "!host:linux",
                "!host:x64",
                "!host:*ryzen*",
                "!commands:abort",
                "!connected:<2h",
                "!key:none",
                "host:none",
            ],
        ),
        (tracked(), [], ["host:ryz"]),
        (BARE, ["host:none"], []),
    ],
    "an accented letter is one character to a wildcard": [
        (tracked(connectionName=TAKEN_APART), ["name:Andr?-1"], ["name:Andre-1"])
    ],
    "a word matches in one column": [
        (tracked(connectionName="web", currentMode="standard"), [], ['"web\nstandard"', "webstandard"])
    ],
    "a word with a wildcard matches a whole column": [
        (tracked(connectionName="web-1"), ["web-?", "*eb-*"], ["eb-?"]),
        (tracked(metadata={"gitBranch": "a" * 1_000}), [], ["branch:" + "*a" * 200 + "*b", "*a" * 200 + "*b"]),
    ],
    "a short name is found whole": [
        (
            tracked(currentMode="acceptEdits", metadata={"os": "win32", "self_update": {"supported": True}}),
            ["mode:accept* os:win* update:by*", 'update:"by hand"'],
            ["mode:accept", "os:win", "update:by"],
        ),
        (
            tracked(currentMode="unrestricted", metadata={"os": "darwin", "self_update": {"supported": False}}),
            [],
            ["os:win", "mode:strict", "update:y"],
        ),
    ],
    "marks around a value in the table are not searched": [
        (
            tracked(currentMode="fullAccess"),
            ["*restricted", "un*", "unrestricte?", "unrestricted"],
            ['"unrestricted !"'],
        )
    ],
    "a status is the verdict, in the words of the screen and of JSON": [
        (aged(10), ["status:online", "status:on"], ["status:late", "status:offline", "status:off", "status:gone"]),
        (aged(44.999), ["status:on"], ["status:late"]),
        (aged(45), ["status:late"], ["status:on", "status:off"]),
        (aged(119.999), ["status:late"], ["status:on", "status:off"]),
        (aged(120), ["status:offline", "status:off"], ["status:online", "status:late", "status:gone"]),
        (replace(tracked(), verdict=GONE), ["status:gone"], ["status:on,off,late"]),
        (replace(tracked(), verdict=MISSING), ["status:off"], ["status:gone,old"]),
    ],
    "other statuses hold in addition": [
        (
            replace(tracked(), is_flapping=True, clock_suspect=True),
            ["flapping:yes STATUS:ONLINE", "status:unknown"],
            ["status:replaced"],
        ),
        (tracked(), [], ["status:unknown", "flapping:yes", "changed:yes"]),
        (changed(0), ["changed:yes"], []),
        (changed(899.999), ["changed:yes"], []),
        (changed(900), [], ["changed:yes"]),
        (replace(tracked(), replaced_by=clean("new")), ["status:replaced"], []),
        (off_for(86_399), ["status:off"], ["status:old"]),
        (off_for(86_400), ["status:off", "status:old"], []),
    ],
    "a word that names a state finds texts too": [(tracked(connectionName="office"), ["off", '"off"'], ["!off"])],
    "only an environment that is up has an up time": [
        (aged(119.999), ["up:>1m"], ["up:none"]),
        (aged(120), ["up:none"], ["up:>1m"]),
    ],
    "an environment without a profile is found by none": [
        (tracked(), ["profile:none !profile:*"], []),
        (replace(tracked(), profile=clean("work")), ["profile:* !profile:none"], []),
    ],
    "none in quotes is a text": [
        (tracked(metadata={"gitBranch": "none"}), ['branch:"none"'], ["branch:none"]),
        (BARE, [], ['branch:"none"']),
    ],
    "a missing value fails comparisons and passes their negation": [
        (BARE, ["!beat:>1s !version:<9 !os:linux !branch:*"], ["beat:>1s", "beat:<1s"])
    ],
    "a leading v of a version": [
        (tracked(metadata={"lettaCodeVersion": "0.3.4"}), [], ["version:0.34", "version:v0.34", "version:V0.34"]),
        *(
            (
                tracked(metadata={"lettaCodeVersion": version}),
                [f"version:{form}{typed}" for form in ("", ">=") for typed in ("0.34", "v0.34", "V0.34")],
                [],
            )
            for version in ("0.34.12", "v0.34.12")
        ),
    ],
    "each text has its field": [
        (
            tracked(
                connectionName="a1",
                deviceId="desktop:b2",
                connectionId="c3",
                userId="d4",
                podId="e5",
                apiKeyOwner="f6",
                organizationId="g7",
                listenerInstanceId="h8",
                metadata={"workingDirectory": "/i9", "supported_commands": ["abort", "reload"]},
            ),
            [
                'name:a1 device:"desktop:b2" connection:c3 user:d4 pod:e5 owner:f6 org:g7 listener:h8 id:env-1',
                "dir:i9 directory:/i* conn:=c3 command:reload",
            ],
            ["command:restart"],
        )
    ],
    "any key of the metadata": [
        (
            tracked(metadata=DETAILED, fromTheRow="newer"),
            [
                *("meta.machine.cpu:*ryzen*", "META.machine.memoryBytes:=34359738368", "meta.list:2"),
                *("meta.supported_commands:abort", "meta.dotted.key:=1", "meta.twice.dotted.key:=2"),
                *(
                    'meta."odd: key":x',
                    "meta.fromTheRow:new*",
                    "meta.self_update.writable:true",
                    "meta.list:*köln*",
                    "meta.nothing:none",
                ),
                *("!meta.machine.CPU:ryzen", "meta.os.deeper:none", "meta..x:=3", "meta.end..x:=4"),
            ],
            [],
        )
    ],
    "typed control characters match the escapes on the screen": [
        (tracked(connectionName="evil\x1b[31m"), ["name:evil\x1b*", r"name:evil\x1b*"], [])
    ],
}


@pytest.mark.parametrize("cases", [pytest.param(cases, id=name) for name, cases in CASES.items()])
def test_queries_find_some_environments_and_not_others(
    cases: list[tuple[TrackedEnvironment, list[str], list[str]]],
) -> None:
    for one, found, lost in cases:
        assert {text: finds(text, one) for text in (*found, *lost)} == dict.fromkeys(found, True) | dict.fromkeys(
            lost, False
        )


def test_an_empty_query_is_false() -> None:
    assert [bool(parse(text)) for text in ("", "  ", "web")] == [False, False, True]


def test_a_word_looks_in_visible_columns_only_and_in_either_case() -> None:
    one = tracked(connectionName="Build-Box", podId="p-Seven")
    narrow = (COLUMNS["state"], COLUMNS["name"])

    assert matches(parse("bUILD"), one, columns=narrow)
    assert matches(parse("P-SEVEN"), one)
    assert not matches(parse("p-seven"), one, columns=narrow)
    assert matches(parse("!p-seven"), one, columns=narrow)


@pytest.mark.parametrize("received", [COMPOSED, TAKEN_APART])
@pytest.mark.parametrize("typed", [COMPOSED, TAKEN_APART])
@pytest.mark.parametrize("form", ["name:{}", "name:={}", "{}", "name:{}*", "*{}", "branch:{}", "command:{}"])
def test_an_accent_is_the_same_in_either_composition(form: str, typed: str, received: str) -> None:
    one = tracked(connectionName=received, metadata={"gitBranch": received, "supported_commands": [received]})

    assert finds(form.format(typed), one)
    assert finds(form.format(typed.upper()), one)
    assert not finds(form.format(typed.replace("-1", "-2")), one)


@pytest.mark.parametrize("word", ["0", "s", "12s", "1*"])
def test_a_word_does_not_look_into_ages(word: str) -> None:
    ages = tuple(COLUMNS[name] for name in ("state", "up", "seen", "first"))

    assert not matches(parse(word), tracked(lastHeartbeat=NOW - 12 * SECOND), columns=ages)


@pytest.mark.parametrize(
    ("pattern", "branch", "is_found"),
    [
        ("feat/*", "feat/login", True),
        ("feat/*", "feat/", True),
        ("feat/*", "old/feat/login", False),
        ("*", "main", True),
        ("m?in", "main", True),
        ("m?in", "min", False),
        ("m?in", "maain", False),
        ("*a*a*", "banana", True),
        ("*a*a*b", "banana", False),
        ("*a*b*c", "xaxbxc", True),
        ("*a*b*c", "xaxc", False),
        ("FEAT/*", "feat/Login", True),
        ("ma", "main", False),
        ("ma*", "main", True),
        ("MAIN", "main", True),
        ("=ma", "main", False),
        ("=MAIN", "main", True),
        ("=m*", "main", False),
        ("=m*", "m*", True),
        ('"*?"', "what*?", False),
        ('*"*?"', "what*?", True),
        ('"*?"', "main", False),
        ('m"*"', "m*", True),
        ('m"*"', "main", False),
        ('m"*"*', "m*in", True),
        ('"*"?', "*a", True),
        ('"*"?', "*ba", False),
        ("?*?", "ab", True),
        ("?*?", "a", False),
        ('"a b"', "a b c", False),
        ('"a b"*', "a b c", True),
        ('"[m]ain"', "main", False),
        ('"[m]ain"', "[m]ain", True),
        ("m.in", "main", False),
        ('"say ""hi"""', 'say "hi"', True),
        (r"a\b", r"a\b", True),
    ],
)
def test_a_value_is_the_whole_text_and_a_wildcard_any_part(pattern: str, branch: str, *, is_found: bool) -> None:
    assert finds(f"branch:{pattern}", tracked(metadata={"gitBranch": branch})) is is_found


@pytest.mark.parametrize("received", ["unrestricted", "bypassPermissions", "fullAccess"])
def test_a_mode_is_found_by_all_its_names_in_either_case(received: str) -> None:
    for typed in ("unrestricted", "bypassPermissions", "fullAccess", "bypasspermissions", "FULLACCESS"):
        assert finds(f"mode:{typed}", tracked(currentMode=received)), typed
        assert str(parse(f"mode:{typed}")).casefold() == "mode:unrestricted"


@pytest.mark.parametrize(
    "text",
    [
        *('branch:a*"b c"?d*"?"*', '"off" off', "up7d:<90", "up7d:90", "up7d:50..99.5"),
        *("permanent:yes", "!permanent:no,yes"),
    ],
)
def test_the_canonical_spelling_is_the_query(text: str) -> None:
    assert str(parse(text)) == text
    assert parse(str(parse(text))) == parse(text)


STATES = {
    "online": tracked(),
    "late": tracked(lastHeartbeat=NOW - 60 * SECOND),
    "offline": tracked(connectionId=None),
    "gone": replace(tracked(), verdict=GONE),
    "expected": replace(tracked(), verdict=MISSING),
    "flapping": replace(tracked(), is_flapping=True),
}


@pytest.mark.parametrize(
    ("word", "states"),
    [
        ("off", "offline expected"),
        ("OFFLINE", "offline expected"),
        ("!offline", "online late gone flapping"),
        ("late", "late"),
        ("gon", "gone"),
        ("flap", "flapping"),
        ("onl", "online flapping"),
        ("online", "online flapping"),
        ("on", ""),
        ("of", ""),
        ("offlines", ""),
        ("line", ""),
        ("off*", ""),
        ('"offline"', ""),
        ('!"offline"', "online late offline gone expected flapping"),
        ("changed", ""),
    ],
)
def test_three_letters_find_the_states_of_this_beginning(word: str, states: str) -> None:
    plain = {
        state: replace(one, environment=replace(one.environment, name=clean("x"))) for state, one in STATES.items()
    }
    name = (COLUMNS["state"], COLUMNS["name"])

    assert {state for state, one in plain.items() if matches(parse(word), one, columns=name)} == set(states.split())


def test_a_row_under_blind_data_is_unknown_in_addition_to_the_last_verdict() -> None:
    monitor = Monitor(fleet_of([one := tracked()]))
    seeing, blind = (MatchContext(NOW, monitor.judge(reading(at))) for at in (NOW, NOW + 3_600_000))
    assert [parse("status:unknown").test(context, ())(one) for context in (seeing, blind)] == [False, True]
    assert parse("status:on").test(blind, ())(one)


def test_none_finds_environments_without_a_value() -> None:
    full = tracked(apiKeyOwner="hiro", userId="u-1", metadata={"x": "y"})
    fields = "mode version branch directory os node beat up user pod connection listener owner update command meta.x"

    for field in fields.split():
        assert finds(f"{field}:none", BARE), field
        assert not finds(f"!{field}:none", BARE), field
        assert not finds(f"{field}:NONE", full), field
        assert finds(f"!{field}:none", full), field


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("web brnch:x", "brnch", "the nearest: branch"),
        ("di:x", "di", "directory"),
        ("zzz:x", "zzz", "there are status"),
        ("http://x", "http", "or quote it"),
        (":x", ":x", "a field is missing"),
        ("a !", "!", "missing after the !"),
        ('a ""', '""', "nothing in the quotes"),
        ("!!a", "!!a", "one ! is enough"),
        ('a name:"build box', 'name:"build box', "not closed"),
        ("branch:", "branch:", "branch:none"),
        ("branch:a,,b", "branch:a,,b", "branch:none"),
        ("branch:,b", "branch:,b", "branch:none"),
        ("branch:=", "=", "a value is missing"),
        ("branch:\ufe0f", "\ufe0f", "a value is missing"),
        ("os:linux,!darwin", "!darwin", "!os:darwin"),
        ("name:>5", ">5", 'name:">5"'),
        ("beat:>90", "90", "90s"),
        ("beat:>1234567", "1234567", "1234567 of what? Write 1234567s, "),
        ("beat:>20261124", "20261124", "write a duration like 1h30m or a date like 2026-11-24T03:00"),
        ("beat:soon", "soon", "1h30m"),
        ("beat:>1h30", "1h30", "1h30m"),
        ("beat:", "beat:", "beat:none"),
        ("first:2026-02-30", "2026-02-30", "calendar"),
        ("first:9999-12-31", "9999-12-31", "calendar"),
        ("beat:90s..30s", "90s..30s", "30s..90s"),
        ("beat:30s..2026-11-01", "30s..2026-11-01", "both ends"),
        ("beat:30s..", "30s..", "a..b"),
        ("beat:>30s..90s", ">30s..90s", "a..b"),
        ("version:0.1..0.2..0.3", "0.1..0.2..0.3", "a..b"),
        ("version:2..1", "2..1", "1..2"),
        ("version:>new", "new", "0.34.12"),
        ("version:>0.3*", "0.3*", "0.34.12"),
        ("status:of", "of", "there is no status of; did you mean status:off?"),
        ("status:unkown", "unkown", "there is no status unkown; did you mean status:unknown?"),
        ("status:silenced", "silenced", "write silenced:yes; or on, late, off, gone, unknown, old, replaced"),
        ("status:acknowledged", "acknowledged", "write acked:yes; or on, late"),
        ("status:flap", "flap", "write flapping:yes; or on, late"),
        ("status:missing", "missing", "on, late, off"),
        ("(web", "(web", "there are no brackets: separate values by a comma, mode:a,b; or quote it"),
        ("a or b", "or", "there is no or: separate values by a comma, mode:a,b; or quote it"),
        (
            "name:web-[12]",
            "name:web-[12]",
            "there are no [ ]: separate values by a comma, name:a,b; or quote it",
        ),
        ("status:ofline", "ofline", "there is no status ofline; did you mean status:offline?"),
        ("!state:late,flaping", "flaping", "on, late, off, gone"),
        (f"status:{'flapping' * 9}", "flapping" * 9, "on, late, off, "),
        ("meta:x", "meta", "meta.KEY"),
        ("meta.:x", "meta.", "meta.KEY"),
        ("beat:>30s x beat:<90s", "beat:<90s", "beat:a..b"),
        ("version:<2,>1", "version:<2,>1", "version:a..b"),
        ("first:>=2026-11-01 first:<=2026-11-01", "first:<=2026-11-01", "first:a..b"),
        ("first:>=2026-11-01,<2026-11-01", "first:>=2026-11-01,<2026-11-01", "first:a..b"),
        ("first:>2026-11-01,<=2026-11-01", "first:>2026-11-01,<=2026-11-01", "first:a..b"),
        ("beat:>90s,<90s", "beat:>90s,<90s", "beat:a..b"),
        ("beat:>30s,>90s,<60s", "beat:>30s,>90s,<60s", "beat:a..b"),
        ("beat:<60s,<20s,>30s", "beat:<60s,<20s,>30s", "beat:a..b"),
        ("web status=offline", "status=offline", "a field has a colon: status:offline; or quote it"),
        ("State==late", "State==late", "a field has a colon: status:late; or quote it"),
        ("beat>90s", "beat>90s", "a field has a colon: beat:>90s; or quote it"),
        ("version<=0.34", "version<=0.34", "a field has a colon: version:<=0.34; or quote it"),
        ("os!=darwin", "os!=darwin", "a field has a colon: !os:darwin; or quote it"),
        ("web beat>", "beat>", "a field has a colon: beat:>…; or quote it"),
        (f"name={'a' * 20}", f"name={'a' * 20}", f"a field has a colon: name:{'a' * 20}; or quote it"),
        (f"name={'a' * 99}", f"name={'a' * 99}", f"a field has a colon: name:{'a' * 19}…; or quote it"),
        ("os:linux OR late", "OR", "there is no OR: separate values by a comma, mode:a,b; or quote it"),
        ("a || b", "||", "there is no ||: "),
        ("a AND b", "AND", "leave AND out: all terms must match anyway; or quote it"),
        ("a && b", "&&", "leave && out"),
        ("NOT late", "NOT", "a ! before the term stands for NOT: !os:darwin; or quote it"),
    ],
)
def test_an_error_points_at_the_mistake_and_gives_the_remedy(text: str, place: str, message: str) -> None:
    with pytest.raises(QueryError, match=re.escape(message)) as raised:
        parse(text)

    error = raised.value
    assert text[error.start : error.end] == place
    assert error.message.isprintable()
    assert str(error) == error.message
    assert len(error.message) <= 78  # fits into 80 columns


@pytest.mark.parametrize(
    ("text", "message", "length"),
    [
        (f"name:>{'5' * 39}", f'quote it: name:">{"5" * 39}"', None),
        (f"name:>{'5' * 40}", f'quote it: name:">{"5" * 38}…"', None),
        (f"version:2{'.0' * 200}..1", "the range runs backwards", 240),
    ],
)
def test_an_error_about_a_long_text_is_cut(text: str, message: str, length: int | None) -> None:
    with pytest.raises(QueryError, match=re.escape(message)) as raised:
        parse(text)

    assert length is None or len(raised.value.message) == length


@pytest.mark.parametrize(
    "text",
    ['"status=offline"', 'status"="offline', "region=eu", "and", "not", "ORACLE", '"OR"', "a>b", "=x", ">5"],
)
def test_other_words_with_signs_of_other_languages_are_looked_for(text: str) -> None:
    query = parse(text)
    assert query
    assert parse(str(query)) == query


@pytest.mark.parametrize(
    "text",
    [
        "version:<0.30 version:>0.34",
        "version:<0.34,>0.34",
        "version:>0.34.12-rc1,<0.34.12-rc1",
        "first:<2026-11-01,>2026-11-01",
        "first:>2026-11-01T03:00 first:<2026-11-01T03:00",
        "beat:<30s,>90s",
        "beat:>30s !beat:>90s",
        "beat:>30s up:<90s",
        "first:>9d,<2026-11-01",
    ],
)
def test_limits_are_valid_if_something_is_left_out(text: str) -> None:
    assert parse(text)


@pytest.mark.parametrize(
    ("text", "query", "settled"),
    [
        ("web stat", "web stat", "web"),
        ("web !stat", "web !stat", "web"),
        ("web statx", "web statx", "web statx"),
        ('web "stat"', "web stat", "web stat"),
        ("stat ", "stat", "stat"),
        ("web meta.disk", "web meta.disk", "web"),
        ("web meta.disk:full", "web meta.disk:full", "web meta.disk:full"),
        ("web foo:bar os:linux", "web os:linux", "web os:linux"),
    ],
)
def test_a_partial_query_has_its_valid_terms_with_and_without_a_possible_field(
    text: str, query: str, settled: str
) -> None:
    partial = partial_query(text, len(text))
    assert (str(partial.query), str(partial.settled)) == (query, settled)


def test_a_partial_query_has_the_first_mistake() -> None:
    mistake = partial_query("foo:bar web beat:soon", 0).mistake
    assert mistake is not None
    assert (mistake.start, mistake.end) == (0, 3)
    assert partial_query("web", 3).mistake is None


@pytest.mark.parametrize(("typed", "meant"), [("onl", "on"), ("OFFL", "off"), ("repl", "replaced")])
def test_three_letters_abbreviate_a_status(typed: str, meant: str) -> None:
    assert str(parse(f"status:{typed}")) == f"status:{meant}"
    with pytest.raises(QueryError):
        parse(f"status:{typed[:2]}x")


@pytest.mark.parametrize(
    ("query", "text", "hits"),
    [
        ("BÜ", "büro-bü", ["bü", "bü"]),
        ("bo box", "my-box", ["box"]),
        ("!box my", "my-box", ["my"]),
        ("b?x", "my-box", []),
        ("os:box", "my-box", []),
        ("a.b", "axb", []),
        ("fi", "ﬁ-1", []),
        ("box", "straße-box", []),
    ],
)
def test_a_text_has_the_words_of_a_query_where_normalising_keeps_its_length(
    query: str, text: str, hits: list[str]
) -> None:
    assert [text[begin:end] for begin, end in parse(query).hits(clean(text))] == hits


@pytest.mark.parametrize(
    ("text", "fields"),
    [("", ""), ("web !web", ""), ("!os:linux", ""), ("web os:linux", "os"), ("!os:linux name:a mode:b", "name mode")],
)
def test_a_query_demands_the_fields_of_terms_without_a_negation(text: str, fields: str) -> None:
    query = parse(text)

    assert query.demands() is bool(fields)
    assert {field for field in ("os", "name", "mode", "web") if query.demands(field)} == set(fields.split())


@pytest.mark.parametrize(
    ("text", "searched", "has_words"),
    [
        ("", "web", True),
        ("web", "my web", True),
        ("web", "my pod", False),
        ("web pod", "web\npod", True),
        ("web pod", "web\nbox", False),
        ("web !pod", "web\npod", False),
        ("web !pod", "web\nbox", True),
        ("we?", "box\nweb", True),
        ("we?", "box\nweb-1", False),
        ("web os:darwin", "web", True),
    ],
)
def test_the_words_of_a_query_are_tested_without_the_terms(text: str, searched: str, *, has_words: bool) -> None:
    assert parse(text).has_words(searched) is has_words


@pytest.mark.parametrize(
    ("text", "has_terms"),
    [("os:linux", True), ("os:linux nowhere !web", True), ("os:linux mode:strict", False), ("!os:linux web", False)],
)
def test_the_terms_of_a_query_are_tested_without_the_words(text: str, *, has_terms: bool) -> None:
    assert parse(text).has_terms(tracked(connectionName="web"), MatchContext(NOW)) is has_terms


def test_an_argument_takes_a_word_as_a_whole_name_and_refuses_a_question_mark_without_a_field() -> None:
    assert str(parse_argument("web-1 !box* os:linux")) == "name:web-1 !name:box* os:linux"
    assert str(parse_argument('"web-?" name:web-?')) == 'name:"web-?" name:web-?'
    for text, remedy in (("web-?", "name:web-?"), ("os:linux !web-?*", "!name:web-?*")):
        with pytest.raises(QueryError, match=re.escape(f"only a field takes ? for one character: {remedy}")) as refused:
            parse_argument(text)
        assert text[refused.value.start : refused.value.end] == text.split()[-1]
