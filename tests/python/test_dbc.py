from __future__ import annotations

import gzip
import json

import can
import pyarrow.parquet
import pytest
from cantools import database

from pipeline_core.dbc import DbcParser, Summary, create_parser
from pipeline_core.exceptions import SettingsError

DBC = """VERSION ""

BU_: ECU

BO_ 256 Engine: 8 ECU
 SG_ Speed : 0|16@1+ (0.25,0) [0|16000] "rpm" ECU
 SG_ Temperature : 16|8@1- (1,-40) [-40|215] "degC" ECU
 SG_ Gear : 24|4@1+ (1,0) [0|15] "" ECU

BO_ 512 Multiplexed: 8 ECU
 SG_ Page M : 0|8@1+ (1,0) [0|255] "" ECU
 SG_ Voltage m0 : 8|16@1+ (0.001,0) [0|65] "V" ECU
 SG_ Current m1 : 8|16@1- (0.1,0) [-3000|3000] "A" ECU

BO_ 2147483904 Extended: 4 ECU
 SG_ Counter : 0|32@1+ (1,0) [0|0] "" ECU

BO_ 768 Flexible: 64 ECU
 SG_ First : 0|64@1+ (1,0) [0|0] "" ECU
 SG_ Last : 504|8@1+ (2,0) [0|0] "" ECU

VAL_ 256 Gear 0 "Neutral" 1 "First" 15 "Reverse" ;
"""
START = 1_700_000_000.0


@pytest.fixture
def dbc(tmp_path):
    path = tmp_path / "car.dbc"
    path.write_text(DBC)
    return path


def frames(loaded):
    engine = loaded.encode_message("Engine", {"Speed": 1500.25, "Temperature": -5, "Gear": 15})
    voltage = loaded.encode_message("Multiplexed", {"Page": 0, "Voltage": 12.5})
    current = loaded.encode_message("Multiplexed", {"Page": 1, "Current": -3.5})
    flexible = loaded.encode_message("Flexible", {"First": 2**64 - 1, "Last": 20})
    messages = [
        can.Message(arbitration_id=256, data=engine, is_extended_id=False, channel=0),
        can.Message(arbitration_id=512, data=voltage, is_extended_id=False, channel=0),
        can.Message(arbitration_id=512, data=current, is_extended_id=False, channel=1),
        can.Message(arbitration_id=256, data=b"\x07\x00\x00\x00", is_extended_id=True, channel=0),
        can.Message(arbitration_id=768, data=flexible, is_fd=True, is_extended_id=False, channel=0),
        can.Message(arbitration_id=0x7FF, data=b"\x01", is_extended_id=False, channel=0),
        can.Message(arbitration_id=512, data=b"\x63\x00\x00", is_extended_id=False, channel=0),
        can.Message(arbitration_id=256, data=b"\x10\x00", is_extended_id=False, channel=0),
        can.Message(is_error_frame=True, channel=0),
        can.Message(arbitration_id=256, is_remote_frame=True, dlc=8, is_extended_id=False, channel=0),
    ]
    for number, message in enumerate(messages):
        message.timestamp = START + number / 100
    return messages


@pytest.fixture(params=["blf", "asc"])
def log(request, tmp_path, dbc):
    path = tmp_path / f"drive.{request.param}"
    with can.Logger(path) as writer:
        for message in frames(database.load_file(dbc)):
            writer(message)
    # The engine's local names have no ending to go by.
    return path.rename(tmp_path / "input-1")


def parsed(dbc, log, tmp_path):
    DbcParser(dbc).parse(log, tmp_path / "out.json")
    return json.loads((tmp_path / "out.json").read_text())


def values(rows, message):
    return [{row["signal"]: row["value"]} for row in rows if row["message"] == message]


def test_frames_become_physical_values(dbc, log, tmp_path):
    rows = parsed(dbc, log, tmp_path)["rows"]
    speed, temperature, gear, *_ = rows
    expected = {"channel": 1, "message": "Engine", "signal": "Speed", "value": 1500.25, "raw": 6001, "unit": "rpm"}
    assert speed.pop("time") == pytest.approx(0, abs=0.001)
    assert speed == expected
    assert (temperature["value"], temperature["unit"], temperature["raw"]) == (-5, "degC", 35)
    assert (gear["value"], gear["label"]) == (15, "Reverse")
    assert "raw" not in gear


def test_time_counts_from_the_start_of_the_measurement(dbc, log, tmp_path):
    summary = parsed(dbc, log, tmp_path)["summary"]
    assert summary["seconds"] == pytest.approx(0.09, abs=0.002)
    assert summary["started"]


def test_a_multiplexed_message_gives_the_signals_that_are_there(dbc, log, tmp_path):
    rows = parsed(dbc, log, tmp_path)["rows"]
    assert values(rows, "Multiplexed") == [{"Page": 0}, {"Voltage": 12.5}, {"Page": 1}, {"Current": -3.5}]
    assert [row["channel"] for row in rows if row["signal"] in {"Voltage", "Current"}] == [1, 2]


def test_extended_identifiers_are_not_taken_for_standard_ones(dbc, log, tmp_path):
    assert values(parsed(dbc, log, tmp_path)["rows"], "Extended") == [{"Counter": 7}]


def test_long_frames_are_decoded_and_large_integers_are_exact(dbc, log, tmp_path):
    assert values(parsed(dbc, log, tmp_path)["rows"], "Flexible") == [{"First": 2**64 - 1}, {"Last": 20}]


def test_what_cannot_be_decoded_is_counted(dbc, log, tmp_path):
    summary = parsed(dbc, log, tmp_path)["summary"]
    assert (summary["unknown_frames"], summary["unknown_ids"]) == (1, {"0x7FF": 1})
    assert summary["undecodable_frames"] == {"Multiplexed": 1}
    assert (summary["error_frames"], summary["remote_frames"]) == (1, 1)
    assert (summary["frames"], summary["decoded_frames"]) == (8, 6)


def test_a_short_frame_gives_the_signals_that_fit(dbc, log, tmp_path):
    data = parsed(dbc, log, tmp_path)
    assert [row["value"] for row in data["rows"] if row["signal"] == "Speed"] == [1500.25, 4]
    assert data["summary"]["signals"]["Engine.Speed"] == {"unit": "rpm", "count": 2, "minimum": 4, "maximum": 1500.25}


def test_parquet_holds_a_long_table_and_the_summary(dbc, log, tmp_path, monkeypatch):
    monkeypatch.setenv("DBC_FILE", str(dbc))
    monkeypatch.setenv("DBC_FORMAT", "parquet")
    create_parser().parse(log, tmp_path / "out.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["time", "channel", "message", "signal", "value", "raw", "unit", "label"]
    summary = json.loads(pyarrow.parquet.read_metadata(tmp_path / "out.parquet").metadata[b"summary"])
    assert table.num_rows == summary["rows"] == 11
    first = table.to_pylist()[0]
    assert (first["signal"], first["value"], first["raw"], first["unit"]) == ("Speed", 1500.25, 6001, "rpm")
    (large,) = [row for row in table.to_pylist() if row["signal"] == "First"]
    assert (large["value"], large["raw"]) == (float(2**64), None)


def test_rows_can_be_had_without_a_file(dbc, log):
    summary = Summary("car.dbc")
    rows = list(DbcParser(dbc).rows(log, summary))
    assert len(rows) == summary.rows == 11
    assert rows[0].signal == "Speed"


def test_an_empty_log_is_no_error(dbc, tmp_path):
    for form, name in (("json", "a"), ("parquet", "b")):
        with can.Logger(tmp_path / f"{name}.blf"):
            pass
        DbcParser(dbc, form).parse(tmp_path / f"{name}.blf", tmp_path / name)
    assert json.loads((tmp_path / "a").read_text())["rows"] == []
    assert pyarrow.parquet.read_table(tmp_path / "b").num_rows == 0


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"a,b\n1,2\n", gzip.compress(b"date", mtime=0)])
def test_a_file_that_is_no_log_is_refused(dbc, tmp_path, content):
    path = tmp_path / "input"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"input is neither a \.blf nor an \.asc log"):
        DbcParser(dbc).parse(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DBC_FILE": ""}, "DBC_FILE is not set"),
        ({"DBC_FILE": "nowhere.dbc"}, "The database nowhere.dbc cannot be read"),
        ({"DBC_FILE": __file__}, "cannot be read"),
        ({"DBC_FILE": "x.dbc", "DBC_FORMAT": "xml"}, "DBC_FORMAT must be json or parquet, not 'xml'"),
    ],
)
def test_wrong_settings_are_refused_before_any_file(monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        create_parser()
    assert message in caught.value.message
    assert caught.value.hint
