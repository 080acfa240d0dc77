"""Lets griffe read our `Example:` as the section of code that it calls `Examples:`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    from griffe import Object


class DocstringExamples(griffe.Extension):
    """Changes the docstrings as they are loaded, before they are parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: ANN401 - griffe calls it with more than is needed
        """One module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
