from __future__ import annotations

import json
import logging
import pickle
import re
import sys
import types
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from pipeline_core import csv_to_kafka, mongo_to_kafka
from pipeline_core.cli import application
from pipeline_core.data_types import DocumentMapping
from pipeline_core.exceptions import SettingsError

pytestmark = pytest.mark.usefixtures("no_settings")

Config = mongo_to_kafka.Config
SECRET = "hunter2"
URI = f"mongodb://loader:{SECRET}@db-1.example:27017,db-2.example:27018/info?replicaSet=rs0"
UID = {"name": "uid", "path": "_id", "form": "text"}
TITLE = {"name": "data.title", "path": "title.zh", "form": "text", "default": "", "remove": [" "]}
TOML = """
topic = "articles"
[mongo_to_kafka]
data_type = "article"
[mongo_to_kafka.filter]
lang = "zh"
[mongo_to_kafka.data_types]
other = "my_models:Other.Inner"
[[mongo_to_kafka.data_types.article.fields]]
name = "uid"
path = "_id"
form = "text"
[[mongo_to_kafka.data_types.article.fields]]
name = "data.title"
path = "title.zh"
form = "text"
default = ""
remove = [" "]
[mongo_to_kafka.producer_config]
bootstrap_servers = ["a:9092", "b:9092"]
linger_ms = 1000
"""
YAML = """
topic: articles
mongo_to_kafka:
  data_type: article
  filter: {lang: zh}
  data_types:
    other: my_models:Other.Inner
    article:
      fields:
        - {name: uid, path: _id, form: text}
        - {name: data.title, path: title.zh, form: text, default: "", remove: [" "]}
  producer_config: {bootstrap_servers: ["a:9092", "b:9092"], linger_ms: 1000}
"""


class Article(BaseModel):
    title: str

    @classmethod
    def from_document(cls, document):
        return cls(title=document["title"])


class Bare(BaseModel):
    title: str


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
    return lambda *arguments: CliRunner().invoke(application(), arguments)


def config(**settings):
    return Config(**{"topic": "t", **settings})


def document(config):
    return json.loads(config.document())


def refused(**settings):
    with pytest.raises(SettingsError) as caught:
        config(**settings)
    assert caught.value.hint
    assert SECRET not in str(caught.value) + repr(caught.value)
    return caught.value.message


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize(
    ("name", "text", "value", "default"),
    [
        ("uri", URI, URI, None),
        ("host", "db", "db", "localhost"),
        ("port", "27018", 27018, 27017),
        ("auth_source", "info", "info", "admin"),
        ("database", "info", "info", "raw_data_temp"),
        ("direct_connection", "false", False, None),
        ("tls", "true", True, False),
        ("min_pool_size", "5", 5, 0),
        ("max_pool_size", "200", 200, 10),
    ],
)
def test_every_variable_of_mongodb_sets_its_field(monkeypatch, place, name, text, value, default):
    assert document(config())["mongodb"][name] == default
    if place == ".env":
        Path(".env").write_text(f"MONGODB_{name.upper()}={text}\n")
    else:
        monkeypatch.setenv(f"MONGODB_{name.upper()}", text)
    assert document(config())["mongodb"][name] == value


def test_a_login_and_a_ca_come_from_the_environment(monkeypatch):
    for name, text in {"USER": "loader", "PASSWORD": SECRET, "TLS": "1", "CA_LOCATION": "ca.pem"}.items():
        monkeypatch.setenv(f"MONGODB_{name}", text)
    mongodb = document(config())["mongodb"]
    assert (mongodb["user"], mongodb["password"], mongodb["ca_location"]) == ("loader", SECRET, "ca.pem")


def test_the_database_of_a_uri_counts_where_no_other_is_named(monkeypatch, invoke):
    assert config(mongodb_uri=URI).mongodb_database == "info"
    assert config(mongodb_uri="mongodb://db/my%20data").mongodb_database == "my data"
    assert config(mongodb_uri="mongodb+srv://db.example/?appName=a@b").mongodb_database == "raw_data_temp"
    assert config(mongodb_uri=URI, mongodb_database="other").mongodb_database == "other"
    Path("s.toml").write_text('[mongodb]\ndatabase = "of_file"\n')
    assert config(mongodb_uri=URI, config_file="s.toml").mongodb_database == "of_file"
    monkeypatch.setenv("MONGODB_URI", URI)
    shown = invoke("config", "show", "mongo-to-kafka").output
    assert re.search(r"mongodb_database +info +environment MONGODB_URI", shown)


@pytest.mark.parametrize("prefix", ["", "mongodb_"])
def test_a_file_s_table_may_have_the_original_s_names(prefix):
    names = {"host": "db", "port": 27018, "user": "", "password": "", "auth_source": "admin", "database": "info"}
    lines = [f"{prefix}{name} = {json.dumps(value)}" for name, value in names.items()]
    Path("s.toml").write_text("\n".join(["[mongodb]", *lines]))
    mongodb = document(config(config_file="s.toml"))["mongodb"]
    assert {name: mongodb[name] for name in names} == {**names, "user": None, "password": None}
    assert csv_to_kafka.Config(files="a.csv", config_file="s.toml").files == ["a.csv"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mongodb_user": "loader"}, "'mongodb_user' (MONGODB_USER) and 'mongodb_password' (MONGODB_PASSWORD) need"),
        ({"mongodb_password": SECRET}, "'mongodb_user' (MONGODB_USER) and 'mongodb_password' (MONGODB_PASSWORD) need"),
        ({"mongodb_ca_location": "ca.pem"}, "Setting 'mongodb_ca_location' needs 'mongodb_tls'"),
        ({"mongodb_min_pool_size": 11}, "Setting 'mongodb_min_pool_size' is above 'mongodb_max_pool_size'"),
        ({"mongodb_max_pool_size": 0}, "Setting 'mongodb_max_pool_size'"),
        ({"mongodb_port": 0}, "Setting 'mongodb_port'"),
        ({"topic": ""}, "Setting 'topic'"),
        ({"collection": ""}, "Setting 'collection'"),
        ({"cursor_field": "a..b"}, "Setting 'cursor_field': Write names with dots between them"),
        ({"mode": "both"}, "Setting 'mode'"),
        ({"json_form": "bson"}, "Setting 'json_form'"),
        ({"full_document": "post_image"}, "Setting 'full_document'"),
        ({"on_lost_token": "skip"}, "Setting 'on_lost_token'"),
        ({"until": "soon"}, "Setting 'until'"),
        ({"lag_seconds": 0}, "Setting 'lag_seconds'"),
        ({"window_documents": 0}, "Setting 'window_documents'"),
        ({"max_rejected_share": 1.1}, "Setting 'max_rejected_share'"),
        ({"filter": "{"}, "Setting 'filter': Write an object of extended JSON"),
        ({"filter": "[]"}, "Setting 'filter': Write an object of extended JSON"),
        ({"filter": {"a": object()}}, "Setting 'filter': Write an object of extended JSON"),
        ({"filter": {"a": 1}, "mode": "stream"}, "Setting 'filter' is for the mode cursor only"),
        ({"data_type": "informaton"}, "which is none of information, raw; did you mean 'information'?"),
        ({"data_type": "b", "data_types": {"a": "m:A"}}, "which is none of information, raw, a"),
        ({"data_types": {"raw": "m:A"}}, "Setting 'data_types' has 'raw', which is built in"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_tried(settings, message):
    assert message in refused(**settings)


def test_a_topic_must_be_named():
    with pytest.raises(SettingsError, match="Setting 'topic' is missing"):
        Config()


def test_a_filter_is_text_or_an_object():
    text = '{"at": {"$gte": {"$date": "2026-01-01T00:00:00Z"}}}'
    assert config(filter=text).filter == text
    assert json.loads(config(filter=json.loads(text)).filter) == json.loads(text)
    assert config().filter is None


@pytest.mark.parametrize(
    "uri",
    [
        f"loader:{SECRET}@db",
        f"postgresql://loader:{SECRET}@db",
        f"mongodb://loader:{SECRET}@",
        f"mongodb://loader:{SECRET}/x@db",
        f"mongodb://loader:a@{SECRET}@db",
        SECRET,
    ],
)
def test_a_wrong_uri_is_refused_and_not_shown(uri, monkeypatch, invoke):
    assert refused(mongodb_uri=uri).startswith("Setting 'mongodb_uri': Write it as mongodb://user:password@host:port")
    monkeypatch.setenv("MONGODB_URI", uri)
    for command in (["config", "show", "mongo-to-kafka"], ["mongo-to-kafka", "--topic", "t"]):
        result = invoke(*command)
        assert result.exit_code == 2
        assert SECRET not in result.output


def test_no_secret_is_ever_shown(monkeypatch, invoke):
    own = {"mongodb_uri": URI, "mongodb_password": SECRET, "producer_config": {"ssl_password": SECRET}}
    settings = config(**own)
    assert SECRET not in repr(settings) + str(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings
    told = document(settings)
    assert (told["mongodb"]["uri"], told["kafka"]["ssl_key_password"]) == (URI, SECRET)
    Path("s.toml").write_text(
        f'[mongodb]\npassword = "{SECRET}"\n[mongo_to_kafka.producer_config]\n'
        f'sasl_plain_password = "{SECRET}"\nlinger_ms = 5\n'
    )
    monkeypatch.setenv("MONGODB_URI", URI)
    shown = invoke("config", "show", "--config", "s.toml").output
    assert re.search(r"mongodb_uri +\*{8} +environment MONGODB_URI", shown)
    assert re.search(r"mongodb_password +\*{8} +s\.toml \[mongodb\]", shown)
    monkeypatch.setenv("PIPELINE_CORE_BATCH_SIZE", "many")
    assert SECRET not in shown + invoke("mongo-to-kafka", "--topic", "t", "--config", "s.toml").output


@pytest.mark.parametrize(("name", "text"), [("s.toml", TOML), ("s.yaml", YAML)])
def test_a_file_has_data_types_a_filter_and_a_producer_s_settings(name, text):
    Path(name).write_text(text)
    told = document(Config(config_file=name))
    assert told["data_types"]["other"] == "my_models:Other.Inner"
    kept = {"nullable": False, "required": True}
    fields = [{"remove": [], **UID, **kept}, {**TITLE, **kept}]
    assert told["data_types"]["article"] == {"fields": fields}
    assert (told["topic"], json.loads(told["filter"])) == ("articles", {"lang": "zh"})
    assert told["kafka"]["bootstrap_servers"] == "a:9092,b:9092"
    assert told["kafka"]["properties"] == {"linger.ms": "1000"}
    assert "producer_config" not in told


def test_data_types_are_given_as_arguments_or_as_text(monkeypatch):
    given = {"article": {"fields": [UID, TITLE]}, "other": "my_models:Other"}
    wanted = document(config(data_types=given))["data_types"]
    assert document(config(data_types=json.dumps(given)))["data_types"] == wanted
    assert (
        document(config(data_types={"article": DocumentMapping(fields=[UID, TITLE]), "other": "my_models:Other"}))[
            "data_types"
        ]
        == wanted
    )
    texts = [json.dumps({"article": given["article"]}), "other=my_models:Other"]
    assert document(config(data_types=texts))["data_types"] == wanted
    monkeypatch.setenv("PIPELINE_CORE_DATA_TYPES", json.dumps(given))
    assert document(config())["data_types"] == wanted


def test_a_class_of_a_module_stands_for_its_name():
    told = document(config(data_types={"article": Article}, data_type="article"))
    name = f"{__name__}:Article"
    assert told["data_types"] == {"article": name}
    assert told["model_setup"]["class"] == name
    assert told["model_setup"]["command"][0] == sys.executable
    assert document(config(data_types={"article": Article}))["model_setup"] is None


def test_a_class_that_no_other_process_finds_is_refused(monkeypatch):
    class Local(Article):
        pass

    assert "<locals>.Local is part of a function, where no other process" in refused(data_types={"article": Local})
    assert refused(data_types={"article": Bare}).endswith("gives a message for the dict of a document")
    monkeypatch.setattr(Article, "__module__", "__main__")
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert "Class Article is part of the program itself" in refused(data_types={"article": Article})
    main.__spec__ = types.SimpleNamespace(name="my_models")
    assert document(config(data_types={"article": Article}))["data_types"] == {"article": "my_models:Article"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "Setting 'data_types.article': Give at least one of fields, or a class as module:Class"),
        ([{"name": "a"}], "Setting 'data_types.article.fields[0]': Give one of path, constant and variable"),
        ([{"name": "a", "path": "b", "constant": 1}], "fields[0]': Give one of path, constant and variable"),
        ([{"path": "b"}], "Setting 'data_types.article.fields[0].name' is missing"),
        ([UID, {"name": "uid", "path": "b"}], "Setting 'data_types.article': The name 'uid' stands for two things"),
        ([TITLE, {"name": "data", "path": "b"}], "Setting 'data_types.article': The name 'data' stands for two things"),
        ([{**UID, "pat": "b"}], "Unknown name 'pat'; did you mean 'path'?"),
        ([{"name": "a", "path": "b."}], "fields[0].path': Write names with dots between them, such as"),
        ([{"name": "", "path": "b"}], "fields[0].name': Write names with dots between them, such as"),
        ([{"name": "a", "variable": "uid"}], "fields[0].variable': It must be 'topic', 'data_type' or 'collection'"),
        ([{"name": "a", "path": "b", "form": "date"}], "fields[0].form': It must be 'any', 'text', 'list'"),
        ([{"name": "a", "path": "b", "remove": ["c"]}], "fields[0]': remove is for the form text only"),
        ([{**TITLE, "remove": [""]}], "fields[0].remove[0]': String should have at least 1 character"),
        ([{**TITLE, "default": []}], "fields[0]': The default is not of the form text"),
        ([{"name": "a", "path": "b", "form": "list", "default": {}}], "The default is not of the form list"),
        ([{"name": "a", "constant": 1, "default": 2}], "form and remove are for a path only"),
        ([{"name": "a", "variable": "topic", "required": False}], "form and remove are for a path only"),
    ],
)
def test_a_mapping_that_is_none_is_refused_with_its_place(fields, message):
    assert message in refused(data_types={"article": {"fields": fields}})


@pytest.mark.parametrize("model", ["Article", "my_models:", "my models:Article", "my_models:a-b", ":A"])
def test_a_name_that_is_no_class_s_is_refused(model):
    message = "Setting 'data_types.article': Write module:Class, or an object with a list of fields"
    assert refused(data_types={"article": model}).startswith(message)


@pytest.mark.parametrize("text", ["article", "=m:A", "{", '{"a": '])
def test_text_that_names_no_data_type_is_refused(text, monkeypatch):
    monkeypatch.setenv("PIPELINE_CORE_DATA_TYPES", text)
    message = "Setting 'data_types' (environment PIPELINE_CORE_DATA_TYPES): Write each as NAME=VALUE, or all as a JSON"
    assert refused().startswith(message)


def test_a_mistake_in_a_file_s_mapping_names_the_file():
    Path("s.toml").write_text(TOML.replace('form = "text"', 'form = "txt"', 1))
    with pytest.raises(SettingsError) as caught:
        Config(config_file="s.toml")
    message = "Setting 'data_types.article.fields[0].form' (s.toml [mongo_to_kafka]): It must be"
    assert caught.value.message.startswith(message)


def test_the_original_s_producer_settings_are_taken(caplog):
    given = {
        "bootstrap_servers": ["127.0.0.1:19092", "127.0.0.1:19096"],
        "compression_type": "gzip",
        "retries": 5,
        "acks": 1,
        "batch_size": 512 * 1024,
        "linger_ms": 1000,
    }
    told = document(config(producer_config=given))
    assert told["kafka"]["bootstrap_servers"] == "127.0.0.1:19092,127.0.0.1:19096"
    assert told["compression"] == "gzip"
    assert told["kafka"]["properties"] == {
        "batch.size": "524288",
        "linger.ms": "1000",
        "message.send.max.retries": "5",
    }
    assert len([line for line in caplog.messages if "acks=1 is raised to all" in line]) == 1


def test_a_setting_of_its_own_wins_over_the_producer_s_in_the_same_place(monkeypatch):
    given = {"linger_ms": 1000, "batch_size": 1, "compression_type": "lz4", "bootstrap_servers": "a:1"}
    told = document(config(producer_config=given, compression="zstd", properties=["linger.ms=5"]))
    assert told["compression"] == "zstd"
    assert told["kafka"]["properties"] == {"batch.size": "1", "linger.ms": "5"}
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "b:1")
    assert document(config(producer_config=given))["kafka"]["bootstrap_servers"] == "a:1", "an argument is stronger"
    monkeypatch.setenv("PIPELINE_CORE_PRODUCER_CONFIG", '{"linger_ms": 7, "bootstrap_servers": "c:1"}')
    told = document(config())["kafka"]
    assert (told["bootstrap_servers"], told["properties"]) == ("b:1", {"linger.ms": "7"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"linger": 5}, "Unknown setting 'linger' in 'producer_config'"),
        ({"acks": 3}, "'acks' must be all"),
        ({"linger_ms": "long"}, "'linger_ms' must be a whole number"),
        (7, "Setting 'producer_config' (argument): Write names and values"),
        ("linger", "Setting 'producer_config' (argument): Write each as NAME=VALUE, or all as a JSON object"),
    ],
)
def test_a_producer_s_setting_that_is_none_is_refused(given, message):
    assert message in refused(producer_config=given)
