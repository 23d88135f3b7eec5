from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.full

PAST = """
import django
django.setup()
from datetime import UTC, datetime, timedelta
from django.contrib.auth import get_user_model
from chat.models import Conversation
owner, began = get_user_model().objects.get(username="bob"), datetime(2020, 1, 1, tzinfo=UTC)
Conversation.objects.filter(owner=owner).delete()
Conversation.objects.bulk_create(
    Conversation(owner=owner, title=f"No. {number}", touched_at=began + timedelta(days=number // 2))
    for number in range(250))
"""
"""Conversations, always two of one moment: one of a hundred is not told from the next by that alone."""


@pytest.fixture
def listed(stage, visit):
    """The tab of somebody with a long past."""
    tab = visit("bob").open()
    stage.python("-c", PAST)
    tab.page.reload()
    return tab


def titles(tab):
    return [int(each.split()[-1]) for each in tab.page.locator(".link__title").all_inner_texts()]


def go(tab, name):
    """Follow a link of the list."""
    before = tab.page.url
    tab.page.get_by_role("link", name=name, exact=True).click()
    tab.page.wait_for_url(lambda url: url != before)


def test_all_conversations_can_be_reached_a_page_at_a_time(listed):
    found = titles(listed)
    go(listed, "Older")
    found += titles(listed)
    go(listed, "Older")
    found += titles(listed)
    assert found == list(range(249, -1, -1))
    expect(listed.page.get_by_role("link", name="Older", exact=True)).to_have_count(0)
    go(listed, "Newest")
    assert titles(listed)[0] == 249


def test_an_older_page_is_still_the_older_one_when_it_is_brought_up_to_date(listed):
    go(listed, "Older")
    with listed.page.expect_response(re.compile("/conversations/.*before=")) as answer:
        listed.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    assert answer.value.status == 200
    expect(listed.page.locator(".link__title").first).to_have_text("No. 149")


def test_the_conversation_that_is_looked_at_is_listed_wherever_it_belongs(listed):
    go(listed, "Older")
    go(listed, "Older")
    go(listed, "No. 3")
    assert titles(listed) == [*range(249, 149, -1), 3]
    current = listed.page.locator("nav a[aria-current]")
    expect(current).to_have_text(re.compile("No. 3"))
    expect(current).to_be_in_viewport()
    expect(listed.page.get_by_text("No. 249")).not_to_be_in_viewport()
    go(listed, "Older")
    assert titles(listed) == [*range(149, 49, -1), 3]
    listed.goto(listed.page.locator("nav a.link", has_text="No. 149").get_attribute("href"))
    assert titles(listed) == [*range(249, 148, -1)]
    go(listed, "No. 247")
    expect(listed.page.get_by_text("No. 249")).to_be_in_viewport()


@pytest.mark.parametrize(
    "mark", ["x", "2020-99-99T00:00:00+00:00_1", "2020-01-01_1", "2020-01-01T00:00:00_1"]
)
def test_what_is_no_mark_of_a_place_begins_the_list(listed, mark):
    listed.goto(f"/?before={mark}")
    assert titles(listed)[0] == 249
