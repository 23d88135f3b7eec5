"""The schema of the events of `display_json`: JSON Schema, and TypeScript made from it.

`docs/turn-events.d.ts` is that TypeScript. After a change, write it again:

    python -m opencode_sessions.frontends.schema > docs/turn-events.d.ts
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from inspect import getdoc
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

from opencode_sessions.display import Detail, Shown, ShownAsk
from opencode_sessions.frontends.display_json import EVENTS, members

__all__ = ["json_schema", "typescript"]

Json = Mapping[str, Any]

_NAMED = {"Part": Shown, "Ask": ShownAsk, "Detail": Detail}
"""Unions that have a name of their own."""

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an object with the data of each event, by the event's name.

    The data of one event, such as `state`, is `{"$ref": "#/$defs/State"}` with the same `$defs`.
    """
    schema = _Schema()
    events = {name: schema.of(cls) for name, cls in EVENTS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "TurnEvents",
        "description": "The data of each event, by the event's name.",
        "type": "object",
        "properties": events,
        "$defs": dict(sorted(schema.found.items())),
    }


def typescript() -> str:
    """TypeScript declarations: `TurnEvents` maps each event's name to the type of its data."""
    schema = json_schema()
    declared = [_declaration(schema["title"], schema)]
    declared += [_declaration(name, each) for name, each in schema["$defs"].items()]
    return (
        "// The events of a turn, version 1. Made from the types in opencode_sessions.frontends.display_json.\n"
        + ("".join(f"\n{each}" for each in declared))
    )


class _Schema:
    """Makes schemas of types, and collects those of all named classes in `found`."""

    def __init__(self) -> None:
        self.found: dict[str, Json] = {}

    def of(self, hint: Any) -> Json:
        """The schema of a type."""
        origin, arguments = get_origin(hint), get_args(hint)
        if hint in _PLAIN:
            return {"type": _PLAIN[hint]}
        if origin is Literal:
            return {"const": arguments[0]} if len(arguments) == 1 else {"enum": [*arguments]}
        if origin in (UnionType, Union):
            return self._union(arguments)
        if origin in (tuple, list):
            return {"type": "array", "items": self.of(arguments[0])}
        if is_dataclass(hint):
            return self._object(hint)
        raise TypeError(f"{hint!r} has no JSON Schema here")

    def _union(self, arguments: tuple[Any, ...]) -> Json:
        some = [each for each in arguments if each is not NoneType]
        name = next((name for name, union in _NAMED.items() if set(get_args(union)) == {*some}), None)
        if name is None:
            found = [self.of(each) for each in some]
        else:
            self.found[name] = {"anyOf": [self.of(each) for each in some]}
            found = [{"$ref": f"#/$defs/{name}"}]
        found += [self.of(NoneType)] if len(some) < len(arguments) else []
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _object(self, cls: Any) -> Json:
        name = cls.__name__
        if name not in self.found:
            self.found[name] = {}  # the class may name itself
            made = {
                "description": (getdoc(cls) or "").partition("\n\n")[0].replace("\n", " "),
                "type": "object",
                "properties": {name: self._member(cls, name, hint) for name, hint in members(cls).items()},
                "required": [*members(cls)],
            }
            self.found[name] = made
        return {"$ref": f"#/$defs/{name}"}

    def _member(self, cls: Any, name: str, hint: Any) -> Json:
        if name == "type":  # a front end distinguishes the classes by it
            return {"const": getattr(cls, name)}
        return self.of(get_args(hint)[0] if get_origin(hint) is ClassVar else hint)


def _declaration(name: str, schema: Json) -> str:
    said = f"/** {schema['description']} */\n" if "description" in schema else ""
    if "properties" not in schema:
        return f"{said}export type {name} = {_type(schema)};\n"
    inside = "".join(f"  {member}: {_type(each)};\n" for member, each in schema["properties"].items())
    return f"{said}export interface {name} {{\n{inside}}}\n"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema or "anyOf" in schema:
        members = map(json.dumps, schema["enum"]) if "enum" in schema else map(_type, schema["anyOf"])
        return " | ".join(members)
    if schema["type"] == "array":
        item = _type(schema["items"])
        return f"({item})[]" if " | " in item else f"{item}[]"
    return str({"integer": "number"}.get(schema["type"], schema["type"]))


if __name__ == "__main__":
    sys.stdout.write(typescript())
