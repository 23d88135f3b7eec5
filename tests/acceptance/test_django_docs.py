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


def test_a_turn_that_costs_too_much_is_cancelled(shop):
    code = """
import django
django.setup()
from chat.budgets import spent, stop_expensive_turns
from chat.models import Conversation
conversation = Conversation.objects.create(title="Lisbon")
for cost in (0.5, 2.0):
    conversation.messages.create(prompt="hello", status="streaming", cost=cost)
stop_expensive_turns()
print(spent(conversation), [(m.status, m.error and m.error["by"]) for m in conversation.messages.all()])
"""
    assert shop("-c", code).endswith("2.5 [('streaming', None), ('cancelled', 'budget')]\n")
