from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core import units


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("1kB", 1000),
        ("256MB", 256_000_000),
        ("256 mb", 256_000_000),
        ("256MiB", 268_435_456),
        ("1.5GiB", 1_610_612_736),
        ("1_000_000", 1_000_000),
    ],
)
def test_sizes_are_read_as_people_write_them(text, count):
    assert units.size(text) == count


@pytest.mark.parametrize("text", ["", "MB", "12x", "-1MB", "1 2MB", "1e3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="Write a size"):
        units.size(text)


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("90s", 90),
        ("10m", 600),
        ("10 min", 600),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1d", 86400),
        ("2.5", 2.5),
        (timedelta(minutes=2), 120),
        (7, 7),
    ],
)
def test_durations_are_read_as_people_write_them(value, length):
    assert units.seconds(value) == pytest.approx(length)


@pytest.mark.parametrize("text", ["", "s", "10x", "1h30", "m10", "10m!"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="Write a duration"):
        units.seconds(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("end", "end"),
        ("Stopped", "stopped"),
        ("90s", "90s"),
        ("1h30m", "1h30m"),
        ("1h 30m", "1h30m"),
        ("500000rows", "500000rows"),
        ("500_000 rows", "500000rows"),
        (timedelta(seconds=90), "90.000s"),
    ],
)
def test_ends_are_read_as_people_write_them(value, text):
    assert units.until(value) == text


@pytest.mark.parametrize("text", ["", "500", "soon", "rows", "0s", "-5s", "10x"])
def test_what_is_no_end_is_refused(text):
    with pytest.raises(ValueError, match="500000rows"):
        units.until(text)


@given(st.text(max_size=20))
def test_no_text_breaks_the_readers(text):
    for read in (units.size, units.seconds, units.until):
        try:
            read(text)
        except ValueError as error:
            assert str(error).startswith("Write ")


@given(st.integers(min_value=0, max_value=10**15))
def test_sizes_shown_are_short_and_have_a_unit(count):
    number, unit = units.bytes_text(count).split(" ")
    assert unit in {"B", "kB", "MB", "GB", "TB"}
    assert len(number) <= 6


@pytest.mark.parametrize(
    ("length", "text"),
    [(0.123, "0.12 s"), (3.21, "3.2 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")],
)
def test_durations_shown_suit_their_length(length, text):
    assert units.seconds_text(length) == text
