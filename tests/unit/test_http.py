from __future__ import annotations

import httpx2
import pytest

from opencode_sessions import errors
from opencode_sessions.wire.address import Timeouts
from opencode_sessions.wire.clients import Client

JSON = {"content-type": "application/json"}


class Scene:
    """A transport that plays answers in order, and counts what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **more):
        return Client("http://server.test:1", transport=httpx2.MockTransport(self), **more)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("opencode_sessions.wire.requester._BACKOFF", (0.0, 0.0))


def json_answer(status, body):
    return httpx2.Response(status, json=body)


def not_found(what="Session not found: ses_1"):
    return json_answer(404, {"name": "NotFoundError", "data": {"message": what}})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx2.Response(401), errors.CredentialsRefusedError),
        (httpx2.Response(403), errors.CredentialsRefusedError),
        (
            json_answer(400, {"name": "BadRequest", "data": {"message": "Expected array"}}),
            errors.BadRequestError,
        ),
        (json_answer(409, {"_tag": "Busy", "message": "busy"}), errors.ConflictError),
        (json_answer(500, {"name": "UnknownError", "data": {"message": "see log"}}), errors.ServerError),
        (not_found(), errors.SessionNotFoundError),
        (not_found("Message not found: msg_1"), errors.NotFoundError),
        (httpx2.Response(200, html="<!doctype html>"), errors.NotOpencodeError),
        (httpx2.Response(200, content=b"{", headers=JSON), errors.NotOpencodeError),
    ],
)
def test_an_answer_becomes_its_error_with_the_facts(answer, error):
    with Scene(answer).client() as client, pytest.raises(errors.WireError) as caught:
        client.get("ses_1")
    assert type(caught.value) is error
    assert caught.value.status == answer.status_code
    assert str(caught.value.request) == "GET http://server.test:1/session/ses_1"
    assert caught.value.body == answer.text


def test_both_shapes_of_error_bodies_are_quoted():
    for body in (
        {"name": "X", "data": {"message": "what was wrong"}},
        {"_tag": "X", "message": "what was wrong"},
    ):
        with (
            Scene(json_answer(400, body)).client() as client,
            pytest.raises(errors.WireError, match="what was wrong"),
        ):
            client.get("ses_1")


def test_html_where_json_was_due_says_that_this_is_not_the_route_of_such_a_server():
    page = httpx2.Response(200, html="<!doctype html>")
    with (
        Scene(page).client() as client,
        pytest.raises(errors.NotOpencodeError, match="not the route of an OpenCode"),
    ):
        client.get("ses_1")


def test_a_missing_session_is_named():
    with Scene(not_found()).client() as client, pytest.raises(errors.SessionNotFoundError) as caught:
        client.get("ses_1")
    assert caught.value.session_id == "ses_1"


def test_no_error_and_no_repr_shows_the_password():
    for answer in (httpx2.Response(401), httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow")):
        client = Scene(answer).client(password="hunter2", username="me")
        with pytest.raises(errors.WireError) as caught:
            client.get("ses_1")
        shown = repr(client) + repr(client.address) + repr(caught.value) + repr(vars(caught.value))
        assert "hunter2" not in shown
        client.close()


def test_the_credentials_are_basic_and_sent_with_every_request():
    scene = Scene(json_answer(200, {"healthy": True, "version": "1.18.33"}))
    with scene.client(password="pw") as client:
        client.health()
    assert scene.requests[0].headers["authorization"] == "Basic b3BlbmNvZGU6cHc="


def test_what_was_never_received_is_sent_again_whatever_it_is():
    scene = Scene(httpx2.ConnectError("refused"), httpx2.ConnectError("refused"), httpx2.Response(204))
    with scene.client() as client:
        client.prompt("ses_1", "hello")
    assert len(scene.requests) == 3


def test_a_server_that_is_not_there_is_given_up_with_what_to_do():
    scene = Scene(httpx2.ConnectError("refused"))
    with (
        scene.client() as client,
        pytest.raises(errors.ServerUnreachableError, match="set OPENCODE_BASE_URL to where it is"),
    ):
        client.get("ses_1")
    assert len(scene.requests) == 3


def test_a_prompt_whose_connection_broke_is_not_sent_again():
    scene = Scene(httpx2.RemoteProtocolError("server disconnected"))
    with scene.client() as client, pytest.raises(errors.ConnectionLostError):
        client.prompt("ses_1", "hello")
    assert len(scene.requests) == 1


def test_a_reading_whose_connection_broke_is_sent_again():
    session = {"id": "ses_1", "title": "t"}
    scene = Scene(httpx2.ReadError("reset"), httpx2.Response(503), json_answer(200, session))
    with scene.client() as client:
        assert client.get("ses_1").title == "t"
    assert len(scene.requests) == 3


def test_a_creation_with_our_id_is_sent_again_and_one_without_is_not():
    session = {"data": {"id": "ses_1", "title": "t"}}
    scene = Scene(httpx2.ReadError("reset"), json_answer(200, session))
    with scene.client() as client:
        assert client.create("ses_1").id == "ses_1"
    assert [request.url.path for request in scene.requests] == ["/api/session"] * 2
    scene = Scene(httpx2.ReadError("reset"), json_answer(200, session))
    with scene.client() as client, pytest.raises(errors.ConnectionLostError):
        client.create(title="t")
    assert [request.url.path for request in scene.requests] == ["/session"]


def test_what_may_have_been_done_is_not_sent_again_after_a_timeout():
    for call in (
        lambda client: client.prompt("ses_1", "hello"),
        lambda client: client.update("ses_1", title="t"),
        lambda client: client.create("ses_1"),
    ):
        scene = Scene(httpx2.ReadTimeout("slow"))
        with scene.client() as client, pytest.raises(errors.RequestTimedOutError):
            call(client)
        assert len(scene.requests) == 1


def test_a_reading_that_is_not_answered_soon_is_sent_once_more_and_waited_for_longer():
    scene = Scene(httpx2.ReadTimeout("slow"), json_answer(200, {"id": "ses_1", "title": "t"}))
    with scene.client(timeouts=Timeouts(first_read=4, read=20)) as client:
        assert client.get("ses_1").title == "t"
    assert [request.extensions["timeout"]["read"] for request in scene.requests] == [4, 20]


def test_a_reading_that_is_never_answered_times_out():
    for timeouts, sent in ((Timeouts(), 2), (Timeouts(read=1), 1)):
        scene = Scene(httpx2.ReadTimeout("slow"))
        with scene.client(timeouts=timeouts) as client, pytest.raises(errors.RequestTimedOutError):
            client.get("ses_1")
        assert len(scene.requests) == sent


def test_a_creation_has_a_short_timeout_of_its_own():
    scene = Scene(json_answer(200, {"id": "ses_1"}))
    with scene.client(timeouts=Timeouts(connect=1, read=20, creation=3)) as client:
        client.create("ses_1")
        client.update("ses_1", title="t")
    creation, update = (request.extensions["timeout"] for request in scene.requests)
    assert (creation["read"], creation["connect"], update["read"]) == (3, 1, 20)


def test_deleting_what_is_not_there_is_no_error():
    with Scene(not_found()).client() as client:
        assert client.delete("ses_1") is False
    with Scene(json_answer(200, True)).client() as client:
        assert client.delete("ses_1") is True


def test_listing_is_paged_and_lazy():
    pages = [
        httpx2.Response(200, json=[{"id": "ses_1"}, {"id": "ses_2"}], headers={"x-next-cursor": "77"}),
        httpx2.Response(200, json=[{"id": "ses_3"}]),
    ]
    scene = Scene(*pages)
    with scene.client(directory="/srv/a b") as client:
        sessions = client.list(page_size=2)
        assert next(sessions).id == "ses_1"
        assert len(scene.requests) == 1
        assert [session.id for session in sessions] == ["ses_2", "ses_3"]
    assert dict(scene.requests[1].url.params) == {"directory": "/srv/a b", "cursor": "78", "limit": "2"}


def test_a_session_id_cannot_leave_its_place_in_the_path():
    scene = Scene(json_answer(200, {"id": "x"}))
    with scene.client() as client:
        client.get("../global/config?a=b")
    assert scene.requests[0].url.raw_path == b"/session/..%2Fglobal%2Fconfig%3Fa%3Db"


@pytest.mark.parametrize("version", ["2.0.1", "1.18.19", "1.17.20", "0.15.2", "dev"])
def test_another_version_says_what_was_found_and_what_is_needed(version):
    scene = Scene(json_answer(200, {"healthy": True, "version": version}))
    with scene.client() as client, pytest.raises(errors.UnsupportedVersionError) as caught:
        client.health()
    assert caught.value.found == version
    assert version in str(caught.value)
    assert ">=1.18.20" in str(caught.value)


def test_the_v2_line_is_told_from_something_else_altogether():
    page = httpx2.Response(200, html="<!doctype html>")
    with Scene(page, json_answer(200, {"version": "2.1.2", "pid": 1})).client() as client:
        assert client.health().version == "2.1.2"
    with Scene(page, page, json_answer(200, {"healthy": True})).client() as client:
        with pytest.raises(errors.UnsupportedVersionError, match=r"OpenCode 2\.x; needed is .* >=2\.0\.19"):
            client.health()
    with Scene(page).client() as client, pytest.raises(errors.NotOpencodeError) as caught:
        client.health()
    assert type(caught.value) is errors.NotOpencodeError


def test_addresses_come_from_arguments_then_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENCODE_BASE_URL", "http://env.test:9/")
    monkeypatch.setenv("OPENCODE_SERVER_PASSWORD", "from-env")
    monkeypatch.setenv("OPENCODE_SERVER_USERNAME", "envuser")
    with Client() as client:
        address = client.address
    assert (address.base_url, address.username, address.password) == (
        "http://env.test:9",
        "envuser",
        "from-env",
    )
    with Client("https://arg.test", password="arg", username="me") as client:
        address = client.address
    assert (address.base_url, address.username, address.password) == ("https://arg.test", "me", "arg")


@pytest.mark.parametrize("url", ["127.0.0.1:4096", "ftp://x", "http://", "not a url"])
def test_what_is_not_a_url_is_refused_with_an_example(url):
    with pytest.raises(errors.ConfigurationError, match=r"http://127\.0\.0\.1:4096"):
        Client(url)


def test_credentials_in_the_url_are_refused_without_repeating_them():
    with pytest.raises(errors.ConfigurationError) as caught:
        Client("http://me:hunter2@server.test")
    assert "hunter2" not in str(caught.value)


def test_a_json_body_that_is_huge_is_cut_in_the_error():
    huge = json_answer(500, {"data": {"message": "x"}, "more": "y" * 10_000})
    with Scene(huge).client() as client, pytest.raises(errors.ServerError) as caught:
        client.get("ses_1")
    assert len(caught.value.body) == 2000
    assert caught.value.body == huge.text[:2000]


@pytest.mark.parametrize("body", [None, [], {}, 3, "text", [[]], {"data": 1}, [None]])
def test_json_of_an_unknown_shape_is_no_key_error(body):
    calls = [
        lambda client: client.get("ses_1"),
        lambda client: client.message("ses_1", "msg_1"),
        lambda client: client.create(title="t"),
        lambda client: client.health(),
    ]
    for call in calls:
        with Scene(json_answer(200, body)).client() as client, pytest.raises(errors.NotOpencodeError):
            call(client)
    for call in (lambda client: client.status(), lambda client: client.pending_permissions()):
        with Scene(json_answer(200, 3)).client() as client, pytest.raises(errors.NotOpencodeError):
            call(client)


def test_a_closed_client_says_so():
    client = Scene(json_answer(200, {"id": "ses_1"})).client()
    client.close()
    with pytest.raises(errors.ServerUnreachableError, match="closed"):
        client.get("ses_1")


class Listing:
    """A server that lists sessions as 1.18.33 does: its cursor is the last one's millisecond, and excludes it."""

    def __init__(self, times):
        self.sessions = [
            {"id": f"ses_{number}", "time": {"created": 1, "updated": updated}}
            for number, updated in enumerate(sorted(times, reverse=True))
        ]
        self.pages = 0

    def __call__(self, request):
        self.pages += 1
        before, limit = request.url.params.get("cursor"), int(request.url.params["limit"])
        left = [each for each in self.sessions if before is None or each["time"]["updated"] < int(before)]
        more = {"x-next-cursor": str(left[limit - 1]["time"]["updated"])} if len(left) > limit else {}
        return httpx2.Response(200, json=left[:limit], headers=more)


@pytest.mark.parametrize("times", [range(12), [7] * 12, [9, 9, 9, 5, 5, 5, 5, 5, 5, 5, 1, 1], []])
@pytest.mark.parametrize("page_size", [1, 2, 5, 100])
def test_a_list_leaves_out_no_session_that_shares_its_millisecond(times, page_size):
    listing = Listing(times)
    with Client("http://server.test:1", transport=httpx2.MockTransport(listing)) as client:
        found = [info.id for info in client.list(page_size=page_size)]
    assert found == [each["id"] for each in listing.sessions]
