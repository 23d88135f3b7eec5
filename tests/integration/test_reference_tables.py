"""The tables of the docs name every setting, route and column that there is."""

from __future__ import annotations

import re
from dataclasses import fields
from types import SimpleNamespace

import pytest
from fix_docs import page
from host_models import Answer, Conversation, django_models

from opencode_sessions.fastapi import HostSettings, turn_router


def test_the_table_of_djangos_settings_has_every_key(django_databases):
    from opencode_sessions.django.conf import _READERS  # noqa: PLC0415 - Django must be set up

    table = page("django.md").partition("## Settings")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z_]+)`", table)) >= set(_READERS)


def test_the_table_of_settings_has_every_field():
    table = page("fastapi.md").partition("## Settings")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)))
    assert named == [field.name for field in fields(HostSettings)]


def test_the_table_of_routes_has_every_route_and_status():
    router = turn_router(SimpleNamespace())
    for route in router.routes:
        (method,) = route.methods
        (row,) = re.findall(
            rf"^\| `{method} {re.escape(route.path)}` \|(.*)\|$", page("fastapi.md"), re.MULTILINE
        )
        said = {int(status) for status in re.findall(r"\b[2-5]\d\d\b", row)}
        known = {*route.responses, route.status_code or 200} | ({422} if "answer" in route.path else set())
        assert said == known, route.path


def documented(heading):
    section = page("reference/rows.md").partition(f"## {heading}")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.MULTILINE))


def kind(column):
    name = type(column.type).__name__.lower()
    names = {"datetime": "time", "json": "JSON", "double": "float", "enum": "string"}
    length = f"({column.type.length})" if names.get(name, name) == "string" else ""
    said = [names.get(name, name) + length]
    return ", ".join(said + ["null"] * bool(column.nullable) + ["unique"] * bool(column.unique))


@pytest.mark.parametrize(
    ("heading", "model"), [("Columns of a record", Conversation), ("Columns of a message", Answer)]
)
def test_the_tables_of_columns_say_what_both_kinds_of_models_have(heading, model, django_databases):
    found = {name: said.replace(", index", "") for name, said in documented(heading).items()}
    own = {"id", "title", "owner_id"}
    assert found == {
        column.name: kind(column) for column in model.__table__.columns if column.name not in own
    }
    fields = {field.name: field for field in getattr(django_models(), model.__name__)._meta.concrete_fields}
    assert found.keys() == fields.keys() - own - {"owner"}
    for name, said in found.items():
        assert (fields[name].null, fields[name].unique) == ("null" in said, "unique" in said), name
