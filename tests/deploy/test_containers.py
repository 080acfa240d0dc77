"""The files for Docker, Kubernetes and systemd are what these take. No image is built: that needs Docker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from tests.architecture.test_readme import resolved
from tests.architecture.tree import ROOT, files

from pipeline_core import obs_worker
from pipeline_core.cli import application

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "docker-compose.yml"
MONITORING = DEPLOY / "docker-compose.monitoring.yml"
WORKERS = [*yaml.safe_load_all((DEPLOY / "kubernetes" / "obs-worker.yaml").read_text())]
UNIT = DEPLOY / "systemd" / "pipeline-core@.service"

# Whoever tries the DAGs has a token.
OF_THE_USER = {"walmart_default"}

# Their schemas are not in Kubernetes' own.
OF_OTHERS = {"ScaledObject"}


def configured(check, *paths, profile="*"):
    """What Compose makes of these files."""
    files = [word for path in paths for word in ("--file", path)]
    done = check("docker-compose", *files, "--profile", profile, "config")
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


def of_kind(kind):
    [document] = [document for document in WORKERS if document["kind"] == kind]
    return document


def test_hadolint_finds_nothing_in_the_dockerfile(check):
    done = check("hadolint", "deploy/Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_built_of_what_is_not_ignored():
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text()
    assert {"Cargo.toml", "src", "python"} <= names
    assert names == set(re.findall(r"^!(\S+)$", sent, re.MULTILINE))
    assert all((ROOT / name).exists() for name in names)


def test_compose_takes_the_servers(check):
    assert set(configured(check, COMPOSE, profile="none")) >= {
        "airflow",
        "kafka",
        "minio",
        "mongodb",
        "mysql",
        "postgres-source",
        "postgres-target",
    }


def test_compose_takes_the_pipelines_and_their_monitoring(check):
    services = configured(check, COMPOSE, MONITORING)
    assert {"grafana", "prometheus"} <= set(services)
    commands = typer.main.get_command(application()).commands
    pipelines = {name for name, service in services.items() if service.get("image") == "pipeline-core"} - {"init-db"}
    assert len(pipelines) > 2
    assert pipelines <= set(commands)
    assert all(services[name]["command"] == [name] for name in pipelines)
    prepared = re.findall(r"pipeline-core (init-db [\w-]+)", services["init-db"]["command"][0])
    assert len(prepared) == 2
    assert all(resolved(line.split())[1] == [] for line in prepared)
    for volume in (volume for service in services.values() for volume in service.get("volumes", [])):
        assert volume["type"] == "volume" or Path(volume["source"]).exists(), volume


def test_airflow_has_the_connections_that_the_dags_name(check):
    named = {name for dag in files("dags", ending=".py") for name in re.findall(r'": "(\w+)"[,}]', dag.read_text())}
    told = configured(check, COMPOSE)["airflow"]["environment"]
    connections = {name.removeprefix("AIRFLOW_CONN_").lower() for name in told if name.startswith("AIRFLOW_CONN_")}
    assert {"kafka_default", "mysql_default"} <= connections
    assert {name for name in named if name.endswith(("_default", "_source", "_target"))} - connections <= OF_THE_USER


def test_every_port_is_open_on_this_machine_only(check):
    ports = [port for service in configured(check, COMPOSE, MONITORING).values() for port in service.get("ports", [])]
    assert len(ports) > 8
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_compose_refuses_a_service_without_an_image(check, tmp_path):
    (tmp_path / "wrong.yml").write_text("services: {kafka: {imag: x}}\n")
    assert check("docker-compose", "--file", tmp_path / "wrong.yml", "config").returncode


def test_kubernetes_takes_the_workers(check, tmp_path):
    core = [document for document in WORKERS if document["kind"] not in OF_OTHERS]
    assert {document["kind"] for document in core} >= {"ConfigMap", "Deployment"}
    (tmp_path / "core.yaml").write_text(yaml.safe_dump_all(core))
    done = check("kubernetes_validate", "--strict", "-k", "1.34", tmp_path / "core.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    del core[-1]["metadata"]
    core[1]["spec"]["replica"] = 3
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump_all(core))
    assert check("kubernetes_validate", "--strict", "-k", "1.34", tmp_path / "wrong.yaml").returncode


def test_the_settings_of_the_workers_are_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [(name, text)] = of_kind("ConfigMap")["data"].items()
    (tmp_path / name).write_text(text)
    config = obs_worker.Config(config_file=name)
    [container] = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["obs-worker", "--config", f"/etc/pipeline_core/{name}"]
    assert [port["containerPort"] for port in container["ports"]] == [config.metrics_port]
    scaled = of_kind("ScaledObject")["spec"]["triggers"][0]["metadata"]
    assert (scaled["topic"], scaled["consumerGroup"]) == (config.topic, config.group_id)
    assert scaled["bootstrapServers"] == config.bootstrap_servers
    assert of_kind("ScaledObject")["spec"]["scaleTargetRef"]["name"] == of_kind("Deployment")["metadata"]["name"]


def test_systemd_takes_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("There is no systemd-analyze here")
    # It looks for the program, which is installed elsewhere here.
    text = UNIT.read_text().replace("/opt/pipeline_core/bin", str(Path(sys.executable).parent))
    assert text != UNIT.read_text()

    def verified(text):
        unit = tmp_path / "pipeline-core@obs-worker.service"
        unit.write_text(text)
        done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert verified(text) == (0, "")
    assert verified(text.replace("DynamicUser=yes", "DynamicUse=yes"))[1]
