"""The original's model of a message, in pydantic."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from tests.bench.documents import CLEANED


class Data(BaseModel):
    """What a reader sees."""

    info_date: str | None
    info_section: list[Any]
    info_author: str | None
    description: str | None


class Metadata(BaseModel):
    """Where it is from."""

    marc_code: str
    details_page: str


class Information(BaseModel):
    """A message."""

    uid: str
    topic: str
    name: str
    created_at: str
    data_type: str = "information_nsfc"
    tag_values: str
    link_data: list[dict[str, Any]]
    data: Data
    metadata: Metadata


def value_of(document: dict[str, Any], topic: str) -> bytes:
    """The value of a document's message."""
    date = document.get("info_date", "")
    if date is not None:
        for text in CLEANED:
            date = date.replace(text, "")
    message = Information(
        uid=str(document["_id"]),
        topic=topic,
        name=document.get("info_name", ""),
        created_at=str(document.get("create_time", "")),
        tag_values=json.dumps(document.get("column_info", [])),
        link_data=document.get("link_data", []),
        data=Data(
            info_date=date,
            info_section=document.get("info_section", []),
            info_author=document.get("info_author", ""),
            description=document.get("description", ""),
        ),
        metadata=Metadata(marc_code=document.get("marc_code", "zh"), details_page=document.get("page_url", "")),
    )
    return message.model_dump_json().encode()
