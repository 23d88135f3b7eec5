"""What docs/django.md shows is added to the tutorial's project, which then passes its own tests."""

from __future__ import annotations

import os
import re

import pytest

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def shop(docs_project):
    return docs_project("tutorial-django.md", "django.md", "budgets.md").run


def test_nothing_is_wrong_with_it(shop):
    assert "no issues" in shop("manage.py", "check")
    assert "No changes detected" in shop("manage.py", "makemigrations", "--check")
    assert not re.search(r"^(broken|missing|warning)", shop("manage.py", "opencode_doctor"), re.MULTILINE)


def test_its_tests_run_under_djangos_runner(shop):
    assert "Ran 1 test" in shop("manage.py", "test", "chat")


def test_its_tests_run_under_pytest_django(shop):
    said = shop(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", "test_chat.py"
    )
    assert "2 passed" in said


def test_its_other_modules_can_be_imported(shop):
    code = "import django; django.setup(); import chat.asynchronous, shop.celery, shop.dispatcher"
    shop("-c", code)


def test_a_turn_over_its_budget_does_not_begin(shop):
    code = """
import django
django.setup()
from chat.models import Conversation
from opencode_sessions import BudgetExceededError
from opencode_sessions.django import turn_for
conversation = Conversation.objects.create(title="Lisbon")
conversation.messages.create(prompt="hello", status="completed", cost=9.0)
try:
    turn_for(conversation.messages.create(prompt="hello")).run()
except BudgetExceededError as error:
    print("refused:", error)
"""
    assert "refused: " in shop("-c", code)
