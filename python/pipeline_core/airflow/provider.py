"""What Airflow asks of a provider; found through the entry point `apache_airflow_provider`."""

from typing import Any

_NAME = "pipeline_core"
_MODULES = "pipeline_core.airflow"


def get_provider_info() -> dict[str, Any]:
    """Name and modules of this provider, in the shape of Airflow's `provider_info.schema.json`."""

    def modules(kind: str) -> list[dict[str, Any]]:
        return [{"integration-name": _NAME, "python-modules": [f"{_MODULES}.{kind}"]}]

    return {
        "package-name": "pipeline-core",
        "name": _NAME,
        "description": "Pipelines between files, object stores, APIs, Kafka and databases, without loss or duplicates.",
        "integrations": [{"integration-name": _NAME, "external-doc-url": "", "tags": ["service"]}],
        "hooks": modules("hooks"),
        "operators": modules("operators"),
        "sensors": modules("sensors"),
        "triggers": modules("triggers"),
    }
