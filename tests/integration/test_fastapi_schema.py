"""The FastAPI chat keeps to its OpenAPI schema, whatever it is sent."""

from __future__ import annotations

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance  # an answer may come too late, say

OPERATIONS = {
    "GET /turns/{table}/{pk}/events",
    "GET /turns/{table}/{pk}/asks/{ask}",
    "POST /turns/{table}/{pk}/answer",
    "POST /turns/{table}/{pk}/cancel",
    "POST /turns/{table}/{pk}/retry",
    "GET /turns/{table}/{pk}/files",
    "GET /turns/{table}/{pk}/files.zip",
    "GET /turns/{table}/{pk}/files/{file}",
    "GET /turns/{table}/{pk}/files/{file}/preview",
    "GET /turns/{table}/{pk}/files/{file}/picture",
    "GET /turns/{table}/{pk}/files/{file}/changes",
    "GET /turns/{table}/{pk}/files/{told}/{attachment}",
    "POST /chats/{pk}/messages",
}


def test_the_schema_says_all_that_the_router_answers(fastapi_chat):
    paths = httpx2.get(f"{fastapi_chat.url}/openapi.json", timeout=100).json()["paths"]
    said = {
        f"{method.upper()} {path}": set(each["responses"])
        for path, methods in paths.items()
        for method, each in methods.items()
    }
    assert said.keys() == OPERATIONS
    events = paths["/turns/{table}/{pk}/events"]["get"]
    assert [*events["responses"]["200"]["content"]] == ["text/event-stream"]
    assert said["GET /turns/{table}/{pk}/events"] == {"200", "401", "404", "422"}
    assert said["POST /turns/{table}/{pk}/answer"] == {
        "204", "400", "401", "403", "404", "409", "413", "422", "503"
    }  # fmt: skip
    assert said["GET /turns/{table}/{pk}/files/{file}"] == {"200", "206", "304", "401", "404", "416", "422"}
    assert said["POST /turns/{table}/{pk}/retry"] == {"200", "401", "404", "409", "422", "503"}


@pytest.mark.full
@pytest.mark.parametrize("visits", [True, False], ids=["with a cookie", "without"])
@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_whatever_is_sent_is_answered_as_the_schema_says(fastapi_chat, operation, visits):
    ada = fastapi_chat.visitor()
    message = ada.send("hello")
    ada.ended(message)
    method, _, path = operation.partition(" ")
    found = schemathesis.openapi.from_url(f"{fastapi_chat.url}/openapi.json")[path][method]
    own = {"table": "messages", "pk": str(message)} if "table" in path else {"pk": int(ada.chat)}
    cases = [
        found.as_strategy(mode, **known)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for known in ({}, {"path_parameters": own})
    ]

    @settings(max_examples=120, suppress_health_check=list(HealthCheck), database=None)
    @given(case=one_of(cases))
    def probe(case):
        cookies = dict(ada.http.cookies) if visits else {}
        case.call_and_validate(cookies=cookies, timeout=60, excluded_checks=[positive_data_acceptance])

    probe()
