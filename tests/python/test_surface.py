"""What users and type checkers see, held together where one thing must be said twice."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest
from pydantic import SecretStr

import pipeline_core
from pipeline_core import (
    bucket_to_kafka,
    cdc_to_postgres,
    csv_to_kafka,
    dlq,
    kafka_to_parquet,
    mongo_to_kafka,
    obs_worker,
    postgres_to_kafka,
    walmart_to_kafka,
    walmart_to_mysql,
)
from pipeline_core.cli import flags
from pipeline_core.settings import PipelineSettings

READ_BATCHES = import_module("pipeline_core.read_batches")
VALIDATE = import_module("pipeline_core.validate")
VERIFY = import_module("pipeline_core.verify")
MODULES = [
    bucket_to_kafka,
    cdc_to_postgres,
    csv_to_kafka,
    dlq,
    kafka_to_parquet,
    mongo_to_kafka,
    obs_worker,
    postgres_to_kafka,
    READ_BATCHES,
    VALIDATE,
    VERIFY,
    walmart_to_kafka,
    walmart_to_mysql,
]


@pytest.mark.parametrize("module", MODULES)
def test_the_keywords_of_a_call_are_the_fields_of_its_settings(module):
    of_its_own = {
        dlq: {"topic"},
        obs_worker: {"parser"},
        READ_BATCHES: {"topic"},
        VALIDATE: {"to"},
        VERIFY: {"to"},
    }.get(module, set())
    assert set(get_type_hints(module.Arguments)) == {"config_file", *module.Config.model_fields} - of_its_own


@pytest.mark.parametrize("module", MODULES)
def test_every_setting_is_described_and_has_a_flag_unless_it_is_a_secret(module):
    config = module.Config
    named = {parameter.name for parameter in flags.of(config)}
    secrets = {name for name, field in config.model_fields.items() if SecretStr.__name__ in str(field.annotation)}
    assert secrets
    assert named | secrets == set(config.model_fields)
    assert not named & secrets
    for name, field in config.model_fields.items():
        assert field.description, name
        assert field.description.endswith((".", "…")), name


def test_the_pipelines_are_registered_by_name():
    assert set(PipelineSettings.registry) == {
        "bucket_to_kafka",
        "cdc_to_postgres",
        "csv_to_kafka",
        "dlq",
        "flink_parquet",
        "flink_walmart",
        "kafka_to_parquet",
        "mongo_to_kafka",
        "mysql_to_mysql",
        "obs_worker",
        "postgres_to_kafka",
        "read_batches",
        "validate",
        "verify",
        "walmart_to_kafka",
        "walmart_to_mysql",
    }
    assert set(PipelineSettings.blocks) == {
        "flink",
        "kafka",
        "mapping",
        "metrics",
        "mongodb",
        "mysql",
        "source",
        "store",
        "target",
        "walmart",
    }


def test_everything_public_is_there():
    assert pipeline_core.__all__
    for name in pipeline_core.__all__:
        assert getattr(pipeline_core, name) is not None


def test_the_consumer_takes_the_settings_that_it_has_no_argument_for():
    own = set(inspect.signature(pipeline_core.CdcConsumer).parameters) & set(cdc_to_postgres.Config.model_fields)
    assert own == {"group_id", "enable_dlq", "enable_idempotency"}
    more = set(get_type_hints(cdc_to_postgres.MoreArguments))
    assert more == {"config_file", *cdc_to_postgres.Config.model_fields} - own - {"topic"}


def test_the_stub_and_the_marker_for_type_checkers_are_shipped():
    folder = Path(pipeline_core.__file__).parent
    assert (folder / "py.typed").is_file()
    assert "def csv_to_kafka" in (folder / "_core.pyi").read_text()
