from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline_core import csv_to_kafka, kafka_to_parquet, obs_worker, progress
from pipeline_core.cli import application, transfers
from pipeline_core.exceptions import NotFoundError, UnavailableError
from pipeline_core.report import PartitionReport, Report, VerifyReport

pytestmark = pytest.mark.usefixtures("no_settings")

COMMANDS = [
    ["bucket-to-kafka"],
    ["cdc-to-postgres"],
    ["csv-to-kafka"],
    ["kafka-to-parquet"],
    ["mongo-to-kafka"],
    ["mongo-to-kafka", "cursor", "show"],
    ["mongo-to-kafka", "cursor", "set"],
    ["mongo-to-kafka", "cursor", "reset"],
    ["obs-worker"],
    ["obs-worker", "status"],
    ["postgres-to-kafka"],
    ["run"],
    ["verify"],
    ["walmart-to-kafka"],
    ["walmart-to-mysql"],
    ["init-db", "cdc-to-postgres"],
    ["init-db", "postgres-to-kafka"],
    ["init-db", "walmart-to-mysql"],
    ["dlq", "show"],
    ["dlq", "replay"],
    ["check"],
    ["check", "bucket-to-kafka"],
    ["check", "cdc-to-postgres"],
    ["check", "csv-to-kafka"],
    ["check", "kafka-to-parquet"],
    ["check", "mongo-to-kafka"],
    ["check", "obs-worker"],
    ["check", "postgres-to-kafka"],
    ["check", "walmart-to-kafka"],
    ["check", "walmart-to-mysql"],
    ["config", "show"],
    ["sample-data"],
    ["demo"],
]
FLAGS = {
    "bucket-to-kafka": "--bucket --prefix --dest-bucket --dest-key --max-files --include --exclude --since --resend",
    "cdc-to-postgres": "--topic --group-id --target-url --until --enable-dlq --enable-idempotency --dlq-format"
    " --mapping --metrics-port",
    "csv-to-kafka": "--topic --key --encoding --rate --limit --partitions --exactly-once --resume --typed",
    "kafka-to-parquet": "--topic --group-id --to --format --flush-rows --flush-bytes --flush-seconds --idle-seconds"
    " --until --compression --typed --partition-by --memory-limit",
    "mongo-to-kafka": "--topic --data-type --full-amount --debug --collection --cursor-field --mode --json-form --until"
    " --filter --data-types --mongodb-host --exactly-once",
    "obs-worker": "--processes --parser --until --task-timeout --task-memory --max-attempts --log-db --group-id",
    "postgres-to-kafka": "--topic --table --source-url --until --snapshot --snapshot-table --position --restart"
    " --mapping --metrics-port",
    "verify": "--topic",
    "walmart-to-kafka": "--hours --start-date --end-date --account-tag --topic --ship-node-type --batch-size --modified"
    " --follow --timezone",
    "walmart-to-mysql": "--topic --group-id --mysql-url --until --formatted-timezone --truncate --raw --database",
}
COMMON = "--config --json --log-level --log-format --property --bootstrap-servers"


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Undo what the command line does to the package's logger."""
    logger = logging.getLogger("pipeline_core")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda *arguments: CliRunner().invoke(application(*arguments[:1]), arguments)


@pytest.fixture
def sent(monkeypatch):
    """Configs that csv-to-kafka was run with, in place of running it."""
    configs = []

    def run(config, *, on_progress=None):
        assert callable(on_progress)
        configs.append(config)
        now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        return Report("csv_to_kafka", "complete", "end of input", 5, 5, 0, 50, 60, now, 1.0, {"encoding": "utf-8"})

    monkeypatch.setattr(csv_to_kafka, "run", run)
    return configs


def raising(error):
    def run(*_arguments, **_settings):
        raise error

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(invoke, command):
    result = invoke(*command, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output
    if command != ["check"]:
        assert "Example" in result.output
        assert f"pipeline-core {command[0]}" in result.output


@pytest.mark.parametrize("command", ["csv-to-kafka", "kafka-to-parquet"])
def test_a_command_imports_no_other_pipeline(command):
    """A command starts fast, for a scheduler starts it every minute."""
    seen = "sorted(name for name in sys.modules if name.startswith('pipeline_core.') and '_to_' in name)"
    script = f"import sys; from pipeline_core.cli import main; sys.argv[1:] = [{command!r}]\n"
    script += f"try: main()\nexcept SystemExit: print({seen})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['pipeline_core.csv_to_kafka', 'pipeline_core.kafka_to_parquet']", ended.stderr


def test_a_mistyped_command_is_told_which_there_are(invoke):
    result = invoke("mysql-to-mysq")
    assert result.exit_code == 2
    assert "Did you mean 'mysql-to-mysql'" in result.output


@pytest.mark.parametrize("command", FLAGS)
def test_every_flag_of_the_contract_is_there(invoke, command):
    output = invoke(command, "--help").output
    for flag in f"{FLAGS[command]} {COMMON}".split():
        assert f" {flag} " in output, flag


def test_no_flag_takes_a_secret(invoke):
    for command in FLAGS:
        output = invoke(command, "--help").output
        assert "--sasl-password" not in output
        assert "--s3-secret-access-key" not in output
        secrets = {"--walmart-token", "--client-secret", "--mysql-password", "--source-password", "--target-password"}
        secrets |= {"--mongodb-password", "--mongodb-uri"}
        assert not secrets & set(output.split())


def test_completion_can_be_installed(invoke):
    assert "--install-completion" in invoke("--help").output


def test_the_version_is_told(invoke):
    result = invoke("--version")
    assert (result.exit_code, result.output.strip()) == (0, sys.modules["pipeline_core"].__version__)


def test_flags_become_settings(invoke, sent):
    flags = "a.csv b.csv --topic t --rate 10 --limit 7 --partitions 3 --exactly-once --no-resume --memory-limit 256MB"
    more = ["--key", "", "--property", "linger.ms=5", "--property", "a=b=c", "--column-type", "Order Id=int64"]
    result = invoke("csv-to-kafka", *flags.split(), *more, "--delimiter", "\\t", "--sasl-mechanism", "plain")
    assert result.exit_code == 0, result.output
    (config,) = sent
    assert config.files == ["a.csv", "b.csv"]
    assert (config.topic, config.rate, config.limit, config.partitions) == ("t", 10, 7, 3)
    assert (config.exactly_once, config.resume, config.memory_limit) == (True, False, 256_000_000)
    assert (config.key, config.delimiter, config.sasl_mechanism) == ("", "\t", "PLAIN")
    assert config.properties == {"linger.ms": "5", "a": "b=c"}
    assert config.column_types == {"Order Id": "int64"}


def test_what_is_not_given_comes_from_the_file_and_the_environment(invoke, sent, monkeypatch):
    Path("s.toml").write_text('files = ["a.csv"]\ntyped = true\n')
    monkeypatch.setenv("KAFKA_TOPIC", "t")
    assert invoke("csv-to-kafka", "--config", "s.toml").exit_code == 0
    assert (sent[0].files, sent[0].topic, sent[0].typed) == (["a.csv"], "t", True)


@pytest.mark.usefixtures("sent")
def test_the_report_is_the_last_line_of_stdout_as_json(invoke):
    result = invoke("csv-to-kafka", "a.csv", "--json")
    assert json.loads(result.stdout.splitlines()[-1])["rows_written"] == 5


@pytest.mark.usefixtures("sent")
def test_the_report_is_shown_to_people(invoke):
    assert "5 read, 5 written, 0 rejected" in invoke("csv-to-kafka", "a.csv").stdout


def test_an_error_is_one_line_and_a_hint(invoke, monkeypatch):
    monkeypatch.setattr(csv_to_kafka, "run", raising(NotFoundError("There is no file a.csv", "Check the path.")))
    result = invoke("csv-to-kafka", "a.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == ["Error: There is no file a.csv", "Hint: Check the path."]


def test_an_error_is_a_log_record_when_logs_are_json(invoke, monkeypatch):
    monkeypatch.setattr(csv_to_kafka, "run", raising(UnavailableError("No broker answers", "Start it.")))
    result = invoke("csv-to-kafka", "a.csv", "--log-format", "json")
    record = json.loads(result.stderr)
    assert (record["level"], record["event"], record["hint"]) == ("error", "No broker answers", "Start it.")
    assert record["kind"] == "unavailable"
    assert (record["logger"], record["filename"], record["func_name"]) == ("pipeline_core", "output.py", "fail")
    assert record["lineno"] > 1
    assert datetime.fromisoformat(record["timestamp"]).tzinfo


def test_a_line_of_the_engine_has_its_place_and_its_fields_when_logs_are_json(invoke, monkeypatch):
    fields = {"file_key": "a.csv", "processing_time": 2.5, "level": "mine"}
    target = "pipeline_core.pipelines.obs_worker"
    line = ["INFO", target, "processed a file", fields, "src/pipelines/obs_worker/work.rs", 185]

    def run(*_arguments, **_settings):
        progress.log(tuple(line))
        message = "Enough"
        raise UnavailableError(message)

    monkeypatch.setattr(obs_worker, "run", run)
    result = invoke("obs-worker", "--log-format", "json")
    record = json.loads(result.stderr.splitlines()[0])
    assert datetime.fromisoformat(record.pop("timestamp")).tzinfo
    assert record == {
        "event": "processed a file",
        "logger": target,
        "level": "info",
        "filename": "work.rs",
        "func_name": "obs_worker",
        "lineno": 185,
        "file_key": "a.csv",
        "processing_time": 2.5,
    }


def test_a_traceback_is_for_debugging_only(invoke, monkeypatch):
    monkeypatch.setattr(csv_to_kafka, "run", raising(ZeroDivisionError("oh")))
    result = invoke("csv-to-kafka", "a.csv")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert "Error: ZeroDivisionError: oh" in result.stderr
    assert "Traceback" in invoke("csv-to-kafka", "a.csv", "--log-level", "debug").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["csv-to-kafka"],
        ["csv-to-kafka", "a.csv", "--rate", "-1"],
        ["csv-to-kafka", "a.csv", "--rate", "fast"],
        ["csv-to-kafka", "a.csv", "--memory-limit", "12x"],
        ["csv-to-kafka", "a.csv", "--no-such-flag"],
        ["csv-to-kafka", "a.csv", "--config", "nowhere.toml"],
        ["csv-to-kafka", "a.csv", "--property", "nothing"],
        ["kafka-to-parquet"],
        ["kafka-to-parquet", "--to", "./lake", "--until", "soon"],
        ["walmart-to-kafka", "-H", "2", "-s", "20251111", "-e", "20251111"],
        ["walmart-to-kafka", "--ship-node-type", "Nobody"],
        ["walmart-to-mysql", "--mysql-url", "localhost"],
        ["postgres-to-kafka", "--source-url", "mysql://db"],
        ["cdc-to-postgres", "--mapping", "emp_id"],
        ["mongo-to-kafka"],
        ["mongo-to-kafka", "--topic", "t", "--full-amount", "False"],
        ["mongo-to-kafka", "--topic", "t", "--data-type", "article"],
        ["cdc-to-postgres", "--metrics-port", "65536"],
        ["dlq", "show"],
        ["dlq", "replay", "t_dlq", "--since", "soon"],
        ["kafka-to-parquet", "--to", "./lake", "--format", "xml"],
        ["no-such-command"],
        ["config", "show", "no-such-pipeline"],
    ],
    ids=" ".join,
)
def test_wrong_usage_and_settings_exit_with_2(invoke, arguments):
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stderr


def test_an_interrupt_exits_with_130(invoke, monkeypatch):
    monkeypatch.setattr(csv_to_kafka, "run", raising(KeyboardInterrupt()))
    result = invoke("csv-to-kafka", "a.csv")
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr


def test_a_drain_that_failed_is_told(invoke, monkeypatch):
    interrupt = KeyboardInterrupt()
    interrupt.__cause__ = UnavailableError("The bucket is gone", "Make it again.")
    monkeypatch.setattr(csv_to_kafka, "run", raising(interrupt))
    result = invoke("csv-to-kafka", "a.csv")
    assert result.exit_code == 130
    assert result.stderr.splitlines() == [
        "Error: Interrupted, and the drain failed: The bucket is gone",
        "Hint: Make it again.",
    ]


def test_a_termination_exits_with_143(invoke, monkeypatch):
    monkeypatch.setattr(kafka_to_parquet, "run", raising(SystemExit(143)))
    assert invoke("kafka-to-parquet", "--to", "./lake").exit_code == 143


@pytest.mark.parametrize(("is_ok", "code"), [(True, 0), (False, 1)])
def test_verify_exits_with_1_if_anything_is_wrong(invoke, monkeypatch, is_ok, code):
    report = VerifyReport("t", "./lake", is_ok, 3, [PartitionReport(0, 1, 3, 0, 2)], [] if is_ok else ["A gap"])
    monkeypatch.setattr(transfers, "verify", lambda **_settings: report)
    result = invoke("verify", "./lake", "--topic", "t", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["ok"] is is_ok


def test_config_show_tells_values_and_origins_and_no_secret(invoke, monkeypatch):
    Path("s.toml").write_text('[kafka.properties]\n"sasl.password" = "hunter2"\n"linger.ms" = 5\n')
    Path(".env").write_text("KAFKA_TOPIC=t\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://somebody:hunter4@s3:9000")
    result = invoke("config", "show", "--config", "s.toml")
    assert result.exit_code == 0, result.output
    assert "hunter" not in result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["topic", "t", ".env", "KAFKA_TOPIC"] in lines
    assert ["s3_secret_access_key", "********", "environment", "AWS_SECRET_ACCESS_KEY"] in lines
    assert ["s3_endpoint", "http://***@s3:9000", "environment", "AWS_ENDPOINT_URL"] in lines
    assert ["bootstrap_servers", "localhost:9092", "default"] in lines
    assert ["to", "required"] in lines
    sections = "[kafka] [store] [bucket_to_kafka] [csv_to_kafka] [kafka_to_parquet] [obs_worker] [verify]"
    more = "[walmart] [mysql] [walmart_to_kafka] [walmart_to_mysql]"
    of_changes = "[source] [target] [mapping] [postgres_to_kafka] [cdc_to_postgres] [dlq] [mongodb] [mongo_to_kafka]"
    assert {line[0] for line in lines} >= {*sections.split(), *more.split(), *of_changes.split()}


def test_config_show_is_json_on_request(invoke):
    data = json.loads(invoke("config", "show", "verify", "--json").stdout)
    assert data["verify"]["topic"] == {"value": "supply-chain-orders", "from": "default"}


def test_config_show_tells_what_is_wrong(invoke, monkeypatch):
    monkeypatch.setenv("PIPELINE_CORE_FLUSH_ROWS", "many")
    result = invoke("config", "show")
    assert result.exit_code == 2
    assert "flush_rows" in result.stdout
    assert "Error: Setting 'flush_rows' (environment PIPELINE_CORE_FLUSH_ROWS)" in result.stderr


def test_sample_data_is_written_and_told(invoke):
    result = invoke("sample-data", "orders.csv", "--rows", "50", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["rows"], told["encoding"]) == (50, "iso-8859-1")
    assert Path("orders.csv").stat().st_size == told["bytes"]


def test_sample_data_that_cannot_be_written_is_one_error(invoke):
    Path("file").write_text("")
    result = invoke("sample-data", "file/orders.csv")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: file/orders.csv could not be written")


def test_a_reader_that_goes_away_is_no_error():
    command = f"'{sys.executable}' -m pipeline_core sample-data --rows 20000 - | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Type,")
