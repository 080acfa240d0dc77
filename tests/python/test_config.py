from __future__ import annotations

import json
import pickle
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_core import csv_to_kafka, kafka_to_parquet
from pipeline_core.exceptions import SettingsError
from pipeline_core.read_batches import Config as ReadBatchesConfig

pytestmark = pytest.mark.usefixtures("no_settings")

TOML = """
files = ["a.csv"]
[kafka]
bootstrap_servers = "k:1"
[kafka.properties]
"linger.ms" = 5
"enable.idempotence" = true
[store]
s3_region = "r"
[csv_to_kafka]
rate = 10
[kafka_to_parquet]
to = "./lake"
"""
YAML = """
files: [a.csv]
kafka:
  bootstrap_servers: k:1
  properties: {linger.ms: 5, enable.idempotence: true}
store: {s3_region: r}
csv_to_kafka: {rate: 10}
kafka_to_parquet: {to: ./lake}
"""
SECRET = "correct horse battery staple"


def document(config):
    return json.loads(config.document())


def test_defaults_are_those_of_the_originals():
    config = kafka_to_parquet.Config(to="gs://bucket")
    assert config.bootstrap_servers == "localhost:9092"
    assert config.topic == "supply-chain-orders"
    assert config.group_id == "supply-chain-consumer-group"
    assert config.prefix == "raw_streaming/"
    assert config.auto_offset_reset == "earliest"


def test_arguments_beat_the_environment_beats_dotenv_beats_the_file(monkeypatch):
    Path("settings.toml").write_text('topic = "file"\n')
    read = lambda **more: csv_to_kafka.Config(files="a.csv", config_file="settings.toml", **more).topic  # noqa: E731
    assert read() == "file"
    Path(".env").write_text("KAFKA_TOPIC=dotenv\n")
    assert read() == "dotenv"
    monkeypatch.setenv("KAFKA_TOPIC", "environment")
    assert read() == "environment"
    monkeypatch.setenv("PIPELINE_CORE_TOPIC", "our own name")
    assert read() == "our own name"
    assert read(topic="argument") == "argument"


@pytest.mark.parametrize(
    ("variable", "text", "config", "field", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2", csv_to_kafka.Config, "bootstrap_servers", "a:1,b:2"),
        ("KAFKA_TOPIC", "t", csv_to_kafka.Config, "topic", "t"),
        ("KAFKA_GROUP_ID", "g", kafka_to_parquet.Config, "group_id", "g"),
        ("CONSUMER_GROUP_ID", "g", kafka_to_parquet.Config, "group_id", "g"),
        ("AUTO_OFFSET_RESET", "latest", kafka_to_parquet.Config, "auto_offset_reset", "latest"),
        ("KAFKA_AUTO_OFFSET_RESET", "latest", kafka_to_parquet.Config, "auto_offset_reset", "latest"),
        ("KAFKA_SESSION_TIMEOUT_MS", "10000", kafka_to_parquet.Config, "session_timeout_seconds", 10),
        ("KAFKA_SECURITY_PROTOCOL", "ssl", kafka_to_parquet.Config, "security_protocol", "SSL"),
        ("KAFKA_SSL_CA_LOCATION", "ca.pem", kafka_to_parquet.Config, "ssl_ca_location", "ca.pem"),
        ("KAFKA_PROPERTIES", '{"linger.ms": 5}', csv_to_kafka.Config, "properties", {"linger.ms": "5"}),
        ("CSV_FILE_PATH", "a, b.csv", csv_to_kafka.Config, "files", ["a, b.csv"]),
        ("CSV_FILE_PATH", "[ab].csv", csv_to_kafka.Config, "files", ["[ab].csv"]),
        ("PIPELINE_CORE_FILES", '["a.csv", "b.csv"]', csv_to_kafka.Config, "files", ["a.csv", "b.csv"]),
        ("GCS_BUCKET_NAME", "bucket", kafka_to_parquet.Config, "to", "gs://bucket"),
        ("GCS_OUTPUT_PREFIX", "p/", kafka_to_parquet.Config, "prefix", "p/"),
        ("GCS_CREDENTIALS_PATH", "k.json", kafka_to_parquet.Config, "gcs_credentials_path", "k.json"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "k.json", kafka_to_parquet.Config, "gcs_credentials_path", "k.json"),
        ("STORAGE_EMULATOR_HOST", "localhost:4443", kafka_to_parquet.Config, "gcs_endpoint", "http://localhost:4443"),
        ("AWS_ENDPOINT_URL", "http://s3:9000", kafka_to_parquet.Config, "s3_endpoint", "http://s3:9000"),
        ("AWS_REGION", "eu-west-1", kafka_to_parquet.Config, "s3_region", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "id", kafka_to_parquet.Config, "s3_access_key_id", "id"),
        ("OBS_SERVER", "https://obs", kafka_to_parquet.Config, "obs_endpoint", "https://obs"),
        ("OBS_ACCESS_KEY", "id", kafka_to_parquet.Config, "obs_access_key_id", "id"),
        ("PIPELINE_CORE_FLUSH_BYTES", "256MB", kafka_to_parquet.Config, "flush_bytes", 256_000_000),
        (
            "PIPELINE_CORE_PARTITION_BY",
            "date=%F,Market",
            kafka_to_parquet.Config,
            "partition_by",
            ["date=%F", "Market"],
        ),
        ("PIPELINE_CORE_TYPED", "true", kafka_to_parquet.Config, "typed", True),
    ],
)
def test_environment_variables_set_fields(monkeypatch, variable, text, config, field, value):
    needed = {"files": "x.csv"} if config is csv_to_kafka.Config else {"to": "./lake"}
    needed.pop(field, None)
    monkeypatch.setenv(variable, text)
    assert getattr(config(**needed), field) == value


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "")
    monkeypatch.setenv("KAFKA_TOPIC", "")
    config = csv_to_kafka.Config(files="a.csv")
    assert (config.sasl_username, config.topic) == (None, "supply-chain-orders")


def test_the_bucket_name_counts_only_when_nothing_else_says_where_to(monkeypatch):
    monkeypatch.setenv("GCS_BUCKET_NAME", "bucket")
    Path("settings.yaml").write_text("to: s3://other\n")
    assert kafka_to_parquet.Config(config_file="settings.yaml").to == "s3://other"


def test_reading_batches_ignores_what_the_environment_says_for_other_pipelines(monkeypatch):
    monkeypatch.setenv("PIPELINE_CORE_TYPED", "true")
    monkeypatch.setenv("PIPELINE_CORE_UNTIL", "stopped")
    monkeypatch.setenv("KAFKA_TOPIC", "t")
    config = ReadBatchesConfig()
    assert (config.typed, config.until, config.topic) == (False, "end", "t")


@pytest.mark.parametrize(("name", "text"), [("s.toml", TOML), ("s.yaml", YAML)])
def test_one_file_serves_several_pipelines(name, text):
    Path(name).write_text(text)
    config = csv_to_kafka.Config(config_file=name)
    assert (config.bootstrap_servers, config.s3_region, config.rate, config.files) == ("k:1", "r", 10, ["a.csv"])
    assert config.properties == {"linger.ms": "5", "enable.idempotence": "true"}


def test_properties_of_several_layers_are_merged():
    Path("s.toml").write_text('[kafka.properties]\n"linger.ms" = 5\n"retries" = 3\n')
    config = csv_to_kafka.Config(files="a.csv", config_file="s.toml", properties={"retries": "9"})
    assert config.properties == {"linger.ms": "5", "retries": "9"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.toml", "flush_row = 5", "Unknown setting 'flush_row' in s.toml; did you mean 'flush_rows'?"),
        ("s.toml", "[kafka]\nbootstrap_server = 'x'", "Unknown setting 'bootstrap_server' in s.toml [kafka]"),
        ("s.toml", "[kafka_to_parquet]\ntoo = 'x'", "Unknown setting 'too' in s.toml [kafka_to_parquet]"),
        ("s.toml", "rate = 5", "it belongs to csv_to_kafka: move it into a table [csv_to_kafka]"),
        ("s.toml", "kafka = 5", "Unknown setting 'kafka' in s.toml"),
        ("s.toml", "a = [1", "Settings file s.toml is not valid TOML"),
        ("s.yaml", "a: [1\nb: {", "Settings file s.yaml is not valid YAML"),
        ("s.yaml", "- 1", "must hold names and values, not a list"),
        ("s.ini", "", "unknown ending '.ini'"),
    ],
)
def test_a_wrong_file_is_one_clear_error(name, text, message):
    Path(name).write_text(text)
    with pytest.raises(SettingsError) as caught:
        kafka_to_parquet.Config(to="./lake", config_file=name)
    assert message in str(caught.value)
    assert caught.value.hint


def test_a_missing_file_is_named():
    with pytest.raises(SettingsError, match=r"Settings file nowhere.toml could not be read: No such file"):
        kafka_to_parquet.Config(to="./lake", config_file="nowhere.toml")


def test_an_empty_file_sets_nothing():
    Path("s.yaml").write_text("")
    assert kafka_to_parquet.Config(to="./lake", config_file="s.yaml").topic == "supply-chain-orders"


def test_a_missing_setting_says_how_to_set_it():
    with pytest.raises(SettingsError, match="Setting 'files' is missing") as caught:
        csv_to_kafka.Config()
    assert "CSV_FILE_PATH" in (caught.value.hint or "")


def test_an_unknown_argument_names_the_closest_one():
    with pytest.raises(SettingsError, match="'flush_row'; did you mean 'flush_rows'"):
        kafka_to_parquet.Config(to="./lake", flush_row=5)


def test_each_wrong_setting_has_a_line_with_its_origin(monkeypatch):
    monkeypatch.setenv("PIPELINE_CORE_LIMIT", "none")
    with pytest.raises(SettingsError) as caught:
        csv_to_kafka.Config(files=[], rate=-1)
    lines = caught.value.message.splitlines()
    assert lines == [
        "Setting 'files': Give at least one",
        "Setting 'rate': It must be greater than 0, not '-1'",
        "Setting 'limit' (environment PIPELINE_CORE_LIMIT): It must be a valid integer, not 'none'",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sasl_username": "u"}, "needs 'security_protocol' to be SASL_SSL or SASL_PLAINTEXT"),
        ({"security_protocol": "SASL_SSL"}, "it also needs 'sasl_username' (KAFKA_SASL_USERNAME)"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "u"}, "it also needs 'sasl_password'"),
        ({"properties": {"security.protocol": "sasl_ssl"}}, "it also needs 'sasl_username'"),
    ],
)
def test_half_a_login_is_refused_before_anything_is_tried(settings, message):
    with pytest.raises(SettingsError) as caught:
        csv_to_kafka.Config(files="a.csv", **settings)
    assert message in caught.value.message


@pytest.mark.parametrize("error", [{"rate": -1}, {"sasl_username": None}, {"properties": {"sasl.password": None}}, {}])
def test_secrets_are_never_shown(error):
    settings = {
        "files": "a.csv",
        "security_protocol": "SASL_SSL",
        "sasl_username": "u",
        "sasl_password": SECRET,
        "s3_secret_access_key": SECRET,
        "properties": {"sasl.password": SECRET},
        **error,
    }
    try:
        shown = repr(csv_to_kafka.Config(**settings))
    except SettingsError as caught:
        shown = repr(caught) + str(caught) + str(caught.__cause__)
    assert SECRET not in shown


def test_a_secret_of_the_wrong_type_is_not_shown_either():
    with pytest.raises(SettingsError) as caught:
        csv_to_kafka.Config(files="a.csv", sasl_password=12345678)
    assert "12345678" not in str(caught.value)


def test_the_engine_s_document_holds_the_secrets_and_the_blocks():
    config = csv_to_kafka.Config(
        files=Path("a.csv"),
        security_protocol="sasl_ssl",
        sasl_username="u",
        sasl_password=SECRET,
        transaction_seconds=timedelta(seconds=2),
        memory_limit="256MiB",
        column_types=["Order Id=int64"],
    )
    data = document(config)
    assert data["kafka"]["sasl_password"] == SECRET
    assert data["kafka"]["security_protocol"] == "SASL_SSL"
    assert data["store"]["obs_virtual_hosted"] is True
    assert data["files"] == ["a.csv"]
    assert data["transaction_seconds"] == 2
    assert data["memory_limit"] == 268_435_456
    assert data["column_types"] == {"Order Id": "int64"}


def test_a_home_folder_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/somebody")
    assert kafka_to_parquet.Config(to="~/lake").to == "/somebody/lake"


def test_settings_are_immutable_and_survive_pickling():
    config = csv_to_kafka.Config(files="a.csv", sasl_password=SECRET, topic="t")
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(ValueError, match="frozen"):
        config.topic = "other"


def test_a_mistyped_variable_of_ours_is_named_once(monkeypatch, caplog):
    monkeypatch.setenv("PIPELINE_CORE_FLUSH_ROWZ", "5")
    kafka_to_parquet.Config(to="./lake")
    kafka_to_parquet.Config(to="./lake")
    (record,) = caplog.records
    assert "PIPELINE_CORE_FLUSH_ROWZ is unknown" in record.getMessage()
    assert "did you mean 'PIPELINE_CORE_FLUSH_ROWS'?" in record.getMessage()


def test_a_variable_that_is_like_no_other_is_named_without_a_guess(monkeypatch, caplog):
    monkeypatch.setenv("PIPELINE_CORE_WHATEVER", "5")
    kafka_to_parquet.Config(to="./lake")
    assert caplog.messages == ["Environment variable PIPELINE_CORE_WHATEVER is unknown and sets nothing"]


@pytest.mark.parametrize("name", ["TEST_KAFKA", "TEST_S3_KEY", "CACHE", "FAULT", "CONFIG_FILE", "KEY"])
def test_variables_of_our_own_and_of_other_pipelines_are_no_mistakes(monkeypatch, caplog, name):
    monkeypatch.setenv(f"PIPELINE_CORE_{name}", "")
    kafka_to_parquet.Config(to="./lake")
    assert caplog.messages == []


@given(st.dictionaries(st.text(min_size=1, max_size=12), st.text(max_size=12), max_size=3))
def test_no_arguments_end_in_anything_but_settings_or_one_error(arguments):
    try:
        csv_to_kafka.Config(**arguments)
    except SettingsError as error:
        assert error.hint
        assert all(line.startswith(("Unknown setting", "Setting ")) for line in error.message.split("\n") if line)
