"""The schema of a structured answer, and the conversion of its data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeAlias

from opencode_sessions.errors import ConfigurationError

__all__ = ["OutputSchema", "SchemaLike", "shape_of"]

SchemaLike: TypeAlias = Mapping[str, Any] | type[Any] | None
"""A JSON schema of an object, a pydantic model, or a dataclass."""


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A JSON schema, and the function that converts its data into a value."""

    schema: Mapping[str, Any]
    make: Callable[[Any], Any]


def shape_of(schema: SchemaLike) -> OutputSchema | None:
    """The schema for the server, with the conversion for the caller.

    Raises:
        ConfigurationError: This is none of the three kinds, no schema can be made of it, or it is a dataclass and
            pydantic is not installed.
    """
    if schema is None:
        return None
    if isinstance(schema, Mapping):
        return OutputSchema(schema, lambda data: data)
    if hasattr(schema, "model_json_schema"):
        return _shape(schema, schema.model_json_schema, schema.model_validate_json)
    if not (isinstance(schema, type) and is_dataclass(schema)):
        raise ConfigurationError(
            f"schema must be a JSON schema, a model of pydantic's or a dataclass, not {schema!r}"
        )
    try:
        from pydantic import TypeAdapter  # noqa: PLC0415 - an extra, needed only here
    except ImportError as error:
        raise ConfigurationError(
            f"to make a JSON schema of the dataclass {schema.__name__}, install pydantic; or pass the schema"
        ) from error
    return _shape(
        schema,
        lambda: TypeAdapter(schema).json_schema(),
        lambda data: TypeAdapter(schema).validate_json(data),
    )


def _shape(
    schema: type[Any], describe: Callable[[], Mapping[str, Any]], make: Callable[[str], Any]
) -> OutputSchema:
    try:
        described = describe()
    except Exception as error:
        raise ConfigurationError(f"no JSON schema can be made of {schema.__name__}: {error}") from error
    return OutputSchema(described, lambda data: make(json.dumps(data)))
