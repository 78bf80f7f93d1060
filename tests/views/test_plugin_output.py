"""A monitoring plugin's output, parsed by a reader written from the guidelines alone."""

from __future__ import annotations

import re
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_fleet import WEAPONS

from envwatch.model.text import SafeText, clean
from envwatch.views.output.check_result import PerformanceDatum, PluginStatus, output_of, parse_nagios_range, status_of

RANGES = ("10", "10:", "~:10", "10:20", "@10:20", "0", "@0:0", "~:", "0.5:2.")


class Item(NamedTuple):
    value: str
    unit: str
    warning: str
    critical: str
    least: str
    greatest: str


def performance_data_of(text: str) -> dict[str, Item]:
    """Parse `'label'=value[UOM];[warn];[crit];[min];[max]`, separated by spaces.

    Quotes around a label are optional, but required around spaces; a quote in a label is doubled. Value, min and max
    are of the class [-0-9.], trailing semicolons may be dropped.
    """
    items = {}
    rest = text.strip()
    while rest:
        match = re.match(
            r"(?:'((?:[^']|'')*)'|([^ '=]+))=(-?[0-9.]+)(s|us|ms|%|[KMGT]?B|c|)((?:;[^ ;]*){0,4})(?: +|$)", rest
        )
        assert match is not None, rest
        label = (match[1] or "").replace("''", "'") or match[2]
        assert label not in items
        fields = [*match[5].removeprefix(";").split(";"), "", "", "", ""]
        assert all(re.fullmatch(r"(?:-?[0-9.]+)?", field) for field in fields[2:4])
        items[label] = Item(match[3], match[4], *fields[:4])
        rest = rest[match.end() :]
    return items


def parsed(output: str) -> tuple[str, dict[str, Item], list[str]]:
    assert output.endswith("\n")
    first, *others = output.removesuffix("\n").split("\n")
    text, _, performance = first.partition("|")
    assert not [line for line in (performance, *others) if "|" in line]
    return text.strip(), performance_data_of(performance), others


texts = st.one_of(st.text(), st.sampled_from(WEAPONS), st.text(alphabet="|a\n'=; é漢\u0301")).map(clean)
metrics = st.builds(
    PerformanceDatum,
    label=st.sampled_from(("problems", "offline", "time")),
    value=st.one_of(st.integers(0, 10**7), st.floats(0, 600)),
    unit=st.sampled_from(("", "s")),
    warning=st.none() | st.sampled_from(RANGES).map(parse_nagios_range),
    critical=st.none() | st.sampled_from(RANGES).map(parse_nagios_range),
    greatest=st.integers(0, 10**7),
)


@given(
    status=st.sampled_from(PluginStatus),
    text=texts,
    written=st.lists(metrics, unique_by=lambda metric: metric.label),
    details=st.lists(texts, max_size=80),
)
def test_whatever_names_say_the_data_is_read_back_and_each_text_is_one_line(
    status: PluginStatus, text: SafeText, written: list[PerformanceDatum], details: list[SafeText]
) -> None:
    output = output_of(status, text, written, details)
    assert output.replace("\n", "").isprintable()
    assert len(output.encode()) <= 4096
    first, items, others = parsed(output)
    assert first.startswith(f"ENVWATCH {status.name} -")
    assert list(items) == [metric.label for metric in written]
    for metric, item in zip(written, items.values(), strict=True):
        assert float(item.value) == pytest.approx(metric.value, abs=0.0005)
        if isinstance(metric.value, int):
            assert item.value == str(metric.value)
        assert (item.unit, item.least, int(item.greatest)) == (metric.unit, "0", metric.greatest)
        ranges = [each.text if each else "" for each in (metric.warning, metric.critical)]
        assert [item.warning, item.critical] == ranges
        assert all(parse_nagios_range(each).text == each for each in ranges if each)
    rest = re.fullmatch("and ([0-9,]+) more", others[-1]) if others else None
    left_out = int(rest[1].replace(",", "")) - 1 if rest else 0  # the line with the rest does not count
    assert len(others) + left_out == len(details)


def test_the_line_is_as_the_guidelines_show_it() -> None:
    counted = PerformanceDatum(
        label="offline", value=5, warning=parse_nagios_range("3"), critical=parse_nagios_range("10"), greatest=47
    )
    took = PerformanceDatum(label="time", value=0.2149, unit="s", greatest=10)
    output = output_of(PluginStatus.WARNING, clean("5 of 47 offline: a|b"), [counted, took], [clean("a|b: offline")])
    assert output == (
        "ENVWATCH WARNING - 5 of 47 offline: a/b | offline=5;3;10;0;47 time=0.215s;;;0;10\na/b: offline\n"
    )


def test_a_failure_has_no_performance_data() -> None:
    assert output_of(PluginStatus.UNKNOWN, clean("timeout")) == "ENVWATCH UNKNOWN - timeout\n"


def test_numbers_of_any_fleet_are_written_out() -> None:
    output = output_of(
        PluginStatus.OK, clean("-"), [PerformanceDatum(label="online", value=1_234_567, greatest=7_654_321)]
    )
    assert output.endswith("| online=1234567;;;0;7654321\n")


def test_a_text_has_400_cells_and_a_detail_has_200() -> None:
    first, whole, cut = output_of(
        PluginStatus.OK, clean("x" * 401), details=[clean("a" * 200), clean("b" * 201)]
    ).splitlines()
    assert first == f"ENVWATCH OK - {'x' * 399}…"
    assert (whole, cut) == ("a" * 200, f"{'b' * 199}…")
    assert output_of(PluginStatus.OK, clean("x" * 400)) == f"ENVWATCH OK - {'x' * 400}\n"


@pytest.mark.parametrize(("last", "rest"), [(48, []), (49, ["and 1 more"])])
def test_details_leave_room_for_the_count_of_the_rest(last: int, rest: list[str]) -> None:
    details = [clean("a" * 199)] * 20 + [clean("b" * last)]
    _, *shown = output_of(PluginStatus.OK, clean("t"), details=details).splitlines()
    assert shown == (details[:20] + rest if rest else details)


def test_details_beyond_4_kib_are_counted() -> None:
    details = [clean(f"name-{number}: offline") for number in range(1_000)]
    output = output_of(PluginStatus.OK, clean("text"), details=details)
    assert 4_000 < len(output.encode()) <= 4_096
    *shown, last = output.splitlines()[1:]
    assert shown == details[: len(shown)]
    assert last == f"and {1_000 - len(shown)} more"


@pytest.mark.parametrize(
    ("value", "warning", "critical", "status"),
    [
        (3, "3", "10", PluginStatus.OK),
        (4, "3", "10", PluginStatus.WARNING),
        (10, "3", "10", PluginStatus.WARNING),
        (11, "3", "10", PluginStatus.CRITICAL),
        (11, None, "10", PluginStatus.CRITICAL),
        (11, "3", None, PluginStatus.WARNING),
        (11, None, None, PluginStatus.OK),
        (2, None, "3:", PluginStatus.CRITICAL),
        (3, None, "3:", PluginStatus.OK),
    ],
)
def test_critical_comes_before_warning(
    value: int, warning: str | None, critical: str | None, status: PluginStatus
) -> None:
    assert (
        status_of([value], *(None if text is None else parse_nagios_range(text) for text in (warning, critical)))
        is status
    )


def test_a_doubt_hides_no_alert_and_makes_none() -> None:
    for low, more, warning, critical in product(range(5), range(5), ("0", "2", "@1:1"), ("1", "3", "2:")):
        ranges = parse_nagios_range(warning), parse_nagios_range(critical)
        certain = status_of(range(low, low + more + 1), *ranges)
        each = [status_of([value], *ranges) for value in range(low, low + more + 1)]
        if certain is PluginStatus.UNKNOWN:
            assert PluginStatus.OK in each
            assert max(each) > PluginStatus.OK
        else:
            assert certain == min(each)
            assert certain is not PluginStatus.OK or set(each) == {PluginStatus.OK}
