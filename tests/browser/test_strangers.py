from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step

ADDRESSES = """
import django, json
django.setup()
from django.urls import get_resolver

def walk(patterns, before=""):
    for each in patterns:
        path = before + str(each.pattern)
        yield from walk(each.url_patterns, path) if hasattr(each, "url_patterns") else [path]

print(json.dumps(list(walk(get_resolver().url_patterns))))
"""
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
OWN = {"", "conversations/", "conversations/begin/", "login/", "logout/", "enter/<str:name>/<str:token>/"}
"""Those that are nobody else's: who asks sees their own."""

DOWNLOAD = "opencode/turns/<str:label>/<path:pk>/files/<str:file_id>"


@pytest.fixture(scope="module")
def routes(stage):
    """All that the URLconf has."""
    return json.loads(stage.python("-c", ADDRESSES))


@pytest.fixture
def secret(tab, scenes):
    """A turn of Alice's that waits for an answer: its conversation, number, ask, and the file sent with it."""
    call = Call("bash", {"command": "touch secret.txt", "description": "Once"})
    scene = scenes.add(Step(calls=(call,)))
    recipe = {"name": "bread.txt", "mimeType": "text/plain", "buffer": b"the recipe"}
    tab.page.get_by_label("Attach files").set_input_files([recipe])
    tab.begin(f"Grandmother's recipe, {scene.prompt}")
    expect(tab.ask).to_be_visible()
    conversation = re.search(r"\d+", tab.path)[0]
    turn = tab.turn.get_attribute("data-pk")
    file = tab.turn.get_by_role("link", name="bread.txt").get_attribute("href")
    yield {"conversation": conversation, "turn": turn, "ask": tab.ask, "file": file.rpartition("/")[2]}
    tab.stop.click()
    tab.ends("cancelled")


def filled(route, secret):
    """The route's address for what is secret."""
    number = secret["conversation"] if route.startswith("c/") else secret["turn"]
    path = route.replace("<str:label>", "chat.message")
    path = re.sub(r"<(str|int|path):pk>", number, path)
    path = path.replace("<str:message_id>", "msg_1").replace("<str:attachment_id>", "prt_1")
    path = path.replace("<str:file_id>", secret["file"])
    path = path.replace("<str:chat>", secret["conversation"])
    assert "<" not in path, f"{route}: say in this test what a stranger gets there"
    return f"/{path}"


def post(visitor, path, **fields):
    """As a page of theirs would."""
    [token] = [cookie["value"] for cookie in visitor.context.cookies() if cookie["name"] == "csrftoken"]
    url = visitor.stage.url
    headers = {"X-CSRFToken": token, "Origin": url, "Accept": "application/json"}
    return visitor.context.request.post(url + path, form=fields, headers=headers, max_redirects=0)


def get(visitor, path):
    return visitor.context.request.get(visitor.stage.url + path, max_redirects=0)


def test_another_user_finds_nothing_whatever_they_ask_for(stage, visit, tab, secret, routes):
    bob = visit("bob")
    bob.open("/")
    foreign = [route for route in routes if route not in OWN]
    assert len(foreign) >= 10
    assert "recipe" in get(tab.visitor, filled(DOWNLOAD, secret)).text(), "its owner finds it"
    fields = {"ask": secret["ask"].get_attribute("data-ask"), "answer": "once"}
    fields |= {"prompt": "Mine!", "title": "Mine!"}
    for route in foreign:
        path = filled(route, secret)
        nowhere = path.replace(secret["conversation"], "987654").replace(secret["turn"], "987654")
        for answer, none in (
            (get(bob, path), get(bob, nowhere)),
            (post(bob, path, **fields), post(bob, nowhere, **fields)),
        ):
            assert answer.status == none.status, route
            assert answer.status in (404, 405), route
            assert "recipe" not in answer.text()
        assert 404 in (get(bob, path).status, post(bob, path).status), route
    tab.page.reload()
    expect(tab.ask).to_be_visible()
    expect(tab.turns).to_have_count(1)
    expect(tab.page.get_by_role("heading", level=1)).to_contain_text("Grandmother")
    assert not (stage.work / "secret.txt").exists()


@pytest.mark.full
def test_what_is_everybodys_shows_each_their_own(visit, tab, secret, routes):
    bob = visit("bob")
    assert set(routes) >= OWN
    for path in ("/", "/conversations/", f"/conversations/?at={secret['conversation']}"):
        answer = get(bob, path)
        assert answer.status == 200
        assert "recipe" not in answer.text()
    expect(tab.page.locator(f'a[href="{tab.path}"]')).to_contain_text("recipe")


def test_who_has_not_logged_in_is_led_to_the_door(chromium, stage, secret, routes):
    context = chromium.new_context()
    for route in routes:
        if route not in ("login/", "enter/<str:name>/<str:token>/"):
            answer = context.request.get(stage.url + filled(route, secret), max_redirects=0)
            assert answer.status in (302, 404, 405), route
            if answer.status == 302:
                assert answer.headers["location"].startswith("/login/")
            assert "recipe" not in answer.text()
    context.close()


@pytest.mark.full
def test_a_link_to_log_in_holds_once(chromium, stage, alice):
    alice.open("/")
    context = chromium.new_context()
    page = context.new_page()
    assert page.goto(stage.url + stage.links["alice"]).status == 403
    expect(page.get_by_role("heading")).to_have_text("This link holds no more")
    context.close()


def test_a_form_of_another_site_is_refused(stage, alice, tab, secret):
    path = f"/c/{secret['conversation']}/rename/"
    answer = alice.context.request.post(
        stage.url + path, form={"title": "Mine!"}, headers={"Origin": "https://elsewhere.example"}
    )
    assert answer.status == 403


def test_the_policy_is_strict_on_all_that_is_answered(alice, tab, secret):
    paths = ["/", tab.path, f"/m/{secret['turn']}/", "/conversations/", "/login/", "/c/987654/"]
    for path in paths:
        header = get(alice, path).headers["content-security-policy"]
        told = dict(each.split(maxsplit=1) for each in header.split("; "))
        assert told == POLICY, path
