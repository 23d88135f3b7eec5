from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.full

HOME = """
import os
os.environ["CHAT_SCRIPTED"] = "1"
import django
django.setup()
from django.contrib.auth import get_user_model
from django.test import Client
client = Client(headers={"host": "127.0.0.1"})
client.force_login(get_user_model().objects.get(username="alice"))
print(client.get("/").content.decode())
"""


def test_where_no_provider_is_set_up_the_page_says_that_the_model_is_scripted(stage, tab):
    said = stage.python("-c", HOME)
    policy = {"content-type": "text/html"}
    tab.page.route("**/as-scripted/", lambda route: route.fulfill(body=said, headers=policy))
    tab.goto("/as-scripted/")
    tab.button("Scripted model").click()
    notice = tab.page.get_by_role("dialog", name="A scripted model answers")
    expect(notice).to_contain_text("ANTHROPIC_API_KEY")
    notice.get_by_role("button", name="Close").click()
    expect(notice).to_be_hidden()


def test_where_a_host_says_nothing_of_it_neither_does_the_page(tab):
    expect(tab.page.get_by_role("heading", name="What shall we do?")).to_be_visible()
    expect(tab.button("Scripted model")).to_have_count(0)
