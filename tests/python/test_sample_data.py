from __future__ import annotations

import csv
import hashlib
import io
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core import sample_data


def written(rows, seed=sample_data.SEED):
    file = io.BytesIO()
    size = sample_data.write(file, rows, seed)
    assert size == len(file.getvalue())
    return file.getvalue()


def parsed(content):
    return list(csv.DictReader(io.StringIO(content.decode("iso-8859-1"), newline="")))


@settings(max_examples=30)
@given(rows=st.integers(min_value=0, max_value=300), seed=st.integers(min_value=0, max_value=2**31))
def test_the_same_seed_and_count_give_the_same_bytes(rows, seed):
    content = written(rows, seed)
    assert content == written(rows, seed)
    assert len(parsed(content)) == rows


def test_the_bytes_stay_the_same_from_release_to_release():
    digest = hashlib.sha256(written(1000)).hexdigest()
    assert digest == "8523851b221ae2329506fd152be3f2cf2dd4168b9ec279676f0b17300fedd655"


def test_another_seed_gives_other_rows():
    assert written(10, 1) != written(10, 2)


def test_it_has_the_shape_of_the_original():
    rows = parsed(written(2000))
    assert list(rows[0]) == list(sample_data.HEADER)
    assert len(sample_data.HEADER) == 53
    assert len({row["Order Item Id"] for row in rows}) == len(rows)
    assert 1 < len(rows) / len({row["Order Id"] for row in rows}) < 5
    number = re.compile(r"-?\d+\.\d+")
    for row in rows:
        assert None not in row
        assert re.fullmatch(r"\d{1,2}/\d{1,2}/20\d\d \d{1,2}:\d\d", row["order date (DateOrders)"])
        assert number.fullmatch(row["Sales"])
        assert number.fullmatch(row["Latitude"])


def test_it_has_what_makes_the_original_hard_to_read():
    content = written(2000)
    rows = parsed(content)
    texts = ["".join(row.values()) for row in rows]
    assert sum(not text.isascii() for text in texts) >= len(rows) / 10
    assert set("áãçñü") <= set("".join(texts))
    assert any(row["Order Zipcode"] == "" for row in rows)
    assert any("," in row["Product Name"] for row in rows)
    assert any('"' in row["Product Name"] for row in rows)
    assert '""' in content.decode("iso-8859-1")


def test_numbers_look_like_floats_that_were_32_bits_wide():
    assert sample_data._number(175.99) == "175.9900055"  # noqa: SLF001 - the rule itself
    assert sample_data._number(0.12) == "0.119999997"  # noqa: SLF001
    assert sample_data._number(245.0) == "245.0"  # noqa: SLF001
    assert sample_data._number(-0.0) == "0.0"  # noqa: SLF001


def test_a_missing_folder_is_made(tmp_path):
    path = tmp_path / "new" / "orders.csv"
    assert sample_data.write(path, 10) == path.stat().st_size
