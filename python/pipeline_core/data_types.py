"""How documents become messages: the mappings of data types, and classes of the user's own."""

import re
import sys
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from typing_extensions import Self, TypedDict, override

from pipeline_core.fields import Metavar, named
from pipeline_core.mapping import Part

BUILT_IN = ("information", "raw")

_DOTTED_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_OF_PATHS = ("default", "nullable", "required", "form", "remove")
_FORMS: dict[str, type] = {"text": str, "list": list, "object": dict}
_MODEL = re.compile(f"{_DOTTED_NAME}:{_DOTTED_NAME}")


def dotted(value: str) -> str:
    """A name or path with dots in it.

    Raises:
        ValueError: There is nothing before, after or between its dots.
    """
    if not all(value.split(".")):
        message = "Write names with dots between them, such as data.info_date"
        raise ValueError(message)
    return value


Dotted = Annotated[str, Metavar("PATH"), AfterValidator(dotted)]
"""A place in a document or in a message: names of fields, and numbers of elements, with dots between them."""


class DocumentField(Part):
    """One field of a message, from a path, a constant or a variable.

    Attributes:
        name: Its place in the message; what stands before a dot is an object.
        path: Its place in the document.
        constant: Its value in every message.
        variable: The setting that is its value.
        default: Its value where the document has none, or null; null does not count as a default.
        nullable: Whether null in the document stays null, whatever the default.
        required: Whether a document without it is refused when there is no default; otherwise it is null.
        form: `any` as it is, `text` as Python's `str`, `list` or `object` if it is one, or `json-text`: its JSON in
            a text.
        remove: Texts that are taken out of a text.
    """

    name: Dotted
    path: Dotted | None = None
    constant: JsonValue = None
    variable: Literal["topic", "data_type", "collection"] | None = None
    default: JsonValue = None
    nullable: bool = False
    required: bool = True
    form: Literal["any", "text", "list", "object", "json-text"] = "any"
    remove: list[Annotated[str, Field(min_length=1)]] = []

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Refuse none or two places, and what would be of no use."""
        fields, message = type(self).model_fields, ""
        if sum(one is not None for one in (self.path, self.constant, self.variable)) != 1:
            message = "Give one of path, constant and variable"
        elif self.path is None and any(getattr(self, name) != fields[name].default for name in _OF_PATHS):
            message = "default, nullable, required, form and remove are for a path only"
        elif self.remove and self.form != "text":
            message = "remove is for the form text only"
        elif self.default is not None and not isinstance(self.default, _FORMS.get(self.form, object)):
            message = f"The default is not of the form {self.form}"
        if message:
            raise ValueError(message)
        return self


class DocumentMapping(Part):
    """The fields of a message, or the class that makes it.

    Attributes:
        fields: Its fields, in this order.
        model: A class as `module:Class`; its method `from_document` gives a message for the dict of a document.

    Example:
        >>> from pipeline_core.data_types import DocumentMapping
        >>> fields = [{"name": "uid", "path": "_id", "form": "text"}, {"name": "data.title", "path": "title"}]
        >>> str(DocumentMapping.model_validate({"fields": fields}))
        'uid, data.title'
    """

    fields: list[DocumentField] = []
    model: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_class(cls, data: object) -> object:
        """A class, or its name, instead of fields."""
        return {"model": _model(data)} if isinstance(data, (str, type)) else data

    @model_validator(mode="after")
    def _names_are_of_one_thing(self) -> Self:
        """Refuse a mapping without a field, and a name that could mean two things."""
        message = ""
        if bool(self.fields) == (self.model is not None):
            message = "Give at least one of fields, or a class as module:Class"
        if self.model is not None:
            _model(self.model)
        names = Counter(field.name for field in self.fields)
        objects = {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}
        twice = next((name for name, times in names.items() if times > 1 or name in objects), None)
        if twice is not None:
            message = f"The name {twice!r} stands for two things"
        if message:
            raise ValueError(message)
        return self

    @model_serializer(mode="wrap")
    def _document(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any] | str:
        """The class by its name, or the fields without what they do not say."""
        if self.model is not None:
            return self.model
        told: list[dict[str, Any]] = fields(self)["fields"]
        return {"fields": [{name: value for name, value in field.items() if value is not None} for field in told]}

    @override
    def __str__(self) -> str:
        return self.model or ", ".join(field.name for field in self.fields)


class FieldDocument(TypedDict, total=False):
    """A `DocumentField` as a dict."""

    name: str
    path: str
    constant: Any
    variable: Literal["topic", "data_type", "collection"]
    default: Any
    nullable: bool
    required: bool
    form: Literal["any", "text", "list", "object", "json-text"]
    remove: list[str]


class MappingDocument(TypedDict, total=False):
    """A `DocumentMapping` as a dict."""

    fields: list[FieldDocument]


def _model(model: str | type) -> str:
    """The name that another process finds a class by."""
    if isinstance(model, str):
        if not _MODEL.fullmatch(model):
            message = "Write module:Class, or an object with a list of fields"
            raise ValueError(message)
        return model
    module, name = model.__module__, model.__qualname__
    if module == "__main__":
        # What was started with `python -m` has a name of its own.
        module = getattr(getattr(sys.modules[module], "__spec__", None), "name", None) or module
    if module == "__main__" or "<" in name:
        place = "the program itself" if module == "__main__" else "a function"
        message = f"Class {name} is part of {place}, where no other process finds it; put it into a module"
        raise ValueError(message)
    if not callable(getattr(model, "from_document", None)):
        message = f"Class {name} has no method from_document, which gives a message for the dict of a document"
        raise ValueError(message)  # noqa: TRY004 - pydantic explains ValueErrors
    return f"{module}:{name}"


DataTypes = Annotated[dict[str, DocumentMapping], Metavar("NAME=CLASS"), BeforeValidator(named)]
"""Mappings by the name of their data type."""
