"""Writes tables of settings into the pages, from the pipelines' own `Config`, where `<!-- settings: NAME -->` stands.

The name is a pipeline's, whose own settings are shown, or that of a block that many share (`kafka`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipeline_core import cli  # noqa: F401 - the command line imports every pipeline
from pipeline_core.layers import variables
from pipeline_core.settings import PipelineSettings, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mkdocs.structure.pages import Page

PLACE = re.compile(r"^<!-- settings: (\w+) -->$", re.MULTILINE)
SHARED = {
    "kafka": "[Kafka's]({}settings.md#kafkas-settings)",
    "metrics": "[those of metrics]({}monitoring.md#settings)",
    "store": "[the stores']({}settings.md#stores-settings)",
}
FLAGS = "The flag of `batch_size` is `--batch-size`. Passwords and secret keys have none."


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:  # noqa: ANN401 - MkDocs gives more than is needed
    """The page with its tables."""
    up = "../" * page.file.src_uri.count("/")
    return PLACE.sub(lambda place: settings(place[1], up), markdown)


def settings(name: str, up: str) -> str:
    """The settings of a pipeline, or of a block that many share; `up` leads to the folder of the pages."""
    if name in SHARED:
        block = PipelineSettings.blocks[name]
        return table(block, block.model_fields)
    config = PipelineSettings.registry[name]
    shared = [block for block in SHARED if issubclass(config, PipelineSettings.blocks[block])]
    of_others = {field for block in shared for field in PipelineSettings.blocks[block].model_fields}
    own = table(config, (field for field in config.model_fields if field not in of_others))
    links = ", ".join(SHARED[block].format(up) for block in shared)
    return f"{FLAGS}\n\n{own}" + (f"\n\nBesides these it has {links}." if links else "")


def table(config: type[PipelineSettings], names: Iterable[str]) -> str:
    """A row for each setting: its name, what it is when nobody sets it, its variables, what it does."""
    rows = ["| setting | default | environment | |", "|---|---|---|---|"]
    for name in names:
        field = config.model_fields[name]
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        default = "must be set" if field.is_required() else _code(shown(config, name, value))
        environment = ", ".join(_code(variable.name) for variable in variables(name, field)) or "none"
        rows.append(f"| `{name}` | {default} | {environment} | {_cell(field.description or '')} |")
    return "\n".join(rows)


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
