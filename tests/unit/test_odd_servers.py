"""What is said of a server that answers otherwise than it should, over a transport that plays one."""

from __future__ import annotations

import httpx2
import pytest

from opencode_sessions import errors
from opencode_sessions.wire.clients import Client


def client_of(server):
    return Client("http://server.test:1", transport=httpx2.MockTransport(server))


def v2(request):
    """A server of the V2 line: it knows `/api/*`, and has a page for all the rest."""
    match request.url.path:
        case "/api/session":
            return httpx2.Response(200, json={"data": {"id": "ses_1"}})
        case "/api/health":
            return httpx2.Response(200, json={"healthy": True, "version": "2.0.1"})
    return httpx2.Response(200, html="<!doctype html>")


CALLS = {
    "create": lambda client: client.create("ses_1", title="x"),
    "get": lambda client: client.get("ses_1"),
    "update": lambda client: client.update("ses_1", title="x"),
    "delete": lambda client: client.delete("ses_1"),
    "abort": lambda client: client.abort("ses_1"),
    "stop": lambda client: client.stop("ses_1"),
    "fork": lambda client: client.fork("ses_1"),
    "list": lambda client: list(client.list()),
    "messages": lambda client: list(client.messages("ses_1")),
    "prompt": lambda client: client.prompt("ses_1", "hello"),
    "subscribe": lambda client: client.subscribe("ses_1"),
    "pending_permissions": lambda client: client.pending_permissions(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_server_of_the_v2_line_is_named_whatever_it_is_asked(call):
    with client_of(v2) as client:
        with pytest.raises(errors.UnsupportedVersionError, match="needed is") as caught:
            call(client)
    assert caught.value.found == "2.0.1"


@pytest.mark.parametrize(
    "page", [httpx2.Response(200, html="<!doctype html>"), httpx2.Response(200, json=[])]
)
def test_another_program_is_not_taken_for_a_server_of_the_v2_line(page):
    with (
        client_of(lambda request: page) as client,
        pytest.raises(errors.NotOpencodeError, match="ses_1") as caught,
    ):
        client.get("ses_1")
    assert type(caught.value) is errors.NotOpencodeError


def test_a_program_without_the_route_of_health_is_no_opencode_server():
    missing = httpx2.Response(404, json={"message": "no such page"})
    with client_of(lambda request: missing) as client:
        with pytest.raises(
            errors.NotOpencodeError, match=r"health answered 404.*something else answers"
        ) as caught:
            client.health()
    assert type(caught.value) is errors.NotOpencodeError
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/health", {"healthy": True, "version": "2.0.1"}),
        ("/api/status", {"version": "2.0.1"}),
        ("/api/info", {"version": "2.0.1", "pid": 1}),
        ("/api/info", {"data": {"version": "2.0.1", "pid": 1}}),
    ],
)
def test_a_server_of_the_v2_line_that_says_404_is_named_all_the_same(path, body):
    def server(request):
        return httpx2.Response(200, json=body) if request.url.path == path else httpx2.Response(404)

    with client_of(server) as client, pytest.raises(errors.UnsupportedVersionError, match=r"2\.0\.1"):
        client.health()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_a_gateway_may_have_said_is_told_as_such(status):
    with (
        client_of(lambda request: httpx2.Response(status)) as client,
        pytest.raises(errors.ServerError, match=f"answered {status}.*A gateway before the server") as caught,
    ):
        client.prompt("ses_1", "hello")
    assert caught.value.status == status


def test_what_the_server_itself_failed_at_is_not_laid_on_a_gateway():
    with (
        client_of(lambda request: httpx2.Response(500)) as client,
        pytest.raises(errors.ServerError, match=r"answered 500$"),
    ):
        client.get("ses_1")


def test_a_server_that_is_well_is_asked_who_it_is_only_when_an_answer_is_not_understood():
    def server(request):
        asked.append(request.url.path)
        healthy = {"healthy": True, "version": "1.18.33"}
        answers = {"/session/ses_1": {"id": "ses_1"}, "/global/health": healthy}
        return httpx2.Response(200, json=answers.get(request.url.path, {"no": "id"}))

    asked = []
    with client_of(server) as client:
        client.get("ses_1")
        with pytest.raises(errors.NotOpencodeError, match="unknown shape") as caught:
            client.get("ses_2")
    assert type(caught.value) is errors.NotOpencodeError
    assert asked == ["/session/ses_1", "/session/ses_2", "/global/health"]


def test_a_rejection_that_fails_does_not_keep_the_others_and_every_failure_is_told():
    def server(request):
        match request.url.path:
            case "/session/ses_1":
                return httpx2.Response(200, json={"id": "ses_1", "directory": "/srv"})
            case "/permission":
                asks = [
                    {"id": f"per_{number}", "sessionID": "ses_1", "permission": "bash"} for number in range(4)
                ]
                return httpx2.Response(200, json=asks)
            case "/question":
                return httpx2.Response(200, json=[])
            case "/permission/per_0/reply" | "/permission/per_2/reply":
                return httpx2.Response(500, json={"data": {"message": "boom"}})
            case "/permission/per_1/reply":
                return httpx2.Response(404, json={"data": {"message": "Permission request not found: per_1"}})
        rejected.append(request.url.path)
        return httpx2.Response(200, json=True)

    rejected = []
    with client_of(server) as client:
        failures = client.stop("ses_1")
    assert [type(failure) for failure in failures] == [errors.ServerError] * 2
    assert rejected == ["/session/ses_1/abort", "/permission/per_3/reply"]
