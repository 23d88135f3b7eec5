"""docs/turn-events.md and its types: they say what is sent."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from display_recordings import NAMES, recording
from json_client import JsonClient
from watched_rows import KEY, WatchedRows, text

from opencode_sessions import live
from opencode_sessions.display import display_message
from opencode_sessions.frontends.display_json import EVENTS, JSON, State, Status, members, plain
from opencode_sessions.frontends.schema import json_schema, typescript
from opencode_sessions.live.view import Bill
from opencode_sessions.runtime.tasks import Tasks
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.turn_table import TurnRow

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "turn-events.md").read_text()
(SEND,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SCHEMA = json_schema()


def problems(value, schema, place="$"):
    """Where a value is not as the schema says."""
    if "$ref" in schema:
        return problems(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], place)
    if "anyOf" in schema:
        found = [problems(value, each, place) for each in schema["anyOf"]]
        return [] if [] in found else min(found, key=len)
    if "const" in schema or "enum" in schema:
        return [] if value in schema.get("enum", [schema.get("const")]) else [place]
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": int | float,
        "boolean": bool,
        "null": type(None),
    }
    if not isinstance(value, kinds[schema["type"]]) or (
        schema["type"] != "boolean" and isinstance(value, bool)
    ):
        return [place]
    match schema["type"]:
        case "array":
            found = [problems(each, schema["items"], f"{place}[]") for each in value]
        case "object":
            missing = [f"{place}.{name}" for name in schema.get("required", ()) if name not in value]
            known = schema["properties"]
            found = [
                problems(each, known.get(name, {"enum": []}), f"{place}.{name}")
                for name, each in value.items()
            ]
            found.append(missing)
        case _:
            found = []
    return [problem for each in found for problem in each]


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_has_what_turns_of_the_server_are_shown_as(name):
    found = recording(name)
    row = SimpleNamespace(parts=found["parts"], asks=found["asks"], error=found["error"], status="streaming")
    shown = display_message(row)
    state = State(
        status="streaming", revision=1, live=True, parts=shown.parts, asks=shown.asks, error=shown.error,
        bill=Bill(0.5, 1, 2),
    )  # fmt: skip
    sent = json.loads(json.dumps(plain(state)))
    assert problems(sent, SCHEMA["properties"]["state"]) == []
    assert problems({**sent, "status": "unheard"}, SCHEMA["properties"]["state"]) == ["$.status"]


def test_a_turn_is_sent_as_the_docs_do_it():
    rows, client = WatchedRows(suspends=True), JsonClient()
    names = {"rows": rows, "JSON": JSON, "Tasks": Tasks, "TurnRow": TurnRow, "TurnStatus": TurnStatus}
    names |= {name: getattr(live, name) for name in live.__all__}

    async def main():
        exec(compile(SEND, "turn-events.md", "exec"), names)  # noqa: S102 - our own docs
        async for said in names["events"](rows.rows[KEY], None):
            client.take(said)
            if client.events == ["begin", "state"]:
                rows.write(status="completed", parts=[text("done")])
        async for said in names["events"](rows.rows[KEY], client.last_id):
            client.take(said)

    asyncio.run(main())
    assert client.events == ["begin", "state", "state", "end", "begin", "end"]
    assert client.state["parts"][0]["markdown"] == "done"


def test_the_types_for_typescript_are_those_that_are_sent():
    assert (DOCS / "turn-events.d.ts").read_text() == typescript(), "see opencode_sessions.frontends.schema"


def test_the_docs_name_every_event_and_all_that_it_says():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*)\|", PAGE, re.MULTILINE))
    assert [*rows] == [*EVENTS]
    for name, cls in EVENTS.items():
        assert set(re.findall(r"`(\w+)`", rows[name])) - {"gone"} == set(members(cls)), name


def test_a_status_is_one_of_a_rows():
    assert set(Status.__args__) == {status.value for status in TurnStatus}
