"""Turns and sessions in Django's admin."""

# ruff: noqa: PLC0415 - not before Django is configured, with these apps

from __future__ import annotations

import re
import uuid

import pytest
from django.apps import apps
from django.db import connections
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from fix_django_app import SETTINGS, wait_until
from fix_stores import create_django_tables
from selection import sample

from opencode_sessions.django import client as shared_client
from opencode_sessions.django import enqueue, session_for
from opencode_sessions.django.host import dispatcher

APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    *SETTINGS["INSTALLED_APPS"],
]
ADMIN = {
    "INSTALLED_APPS": APPS,
    "ROOT_URLCONF": "web_project.staff",
    "STATIC_URL": "/static/",
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
}
TURNS, SESSIONS = "/admin/chat/message/", "/admin/chat/conversation/"
SLOW = "!slow 0.1\n!say one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def admin_tables(user_tables):
    with override_settings(**ADMIN):
        from django.contrib.admin.models import LogEntry

        create_django_tables(LogEntry)


@pytest.fixture
def staff(admin_tables, pages):
    """Call it for somebody who is logged in: with these permissions, or with all."""

    def log_in(*permissions):
        from django.contrib.auth.management import create_permissions
        from django.contrib.auth.models import Permission, User

        create_permissions(apps.get_app_config("chat"), verbosity=0)
        name = f"user-{uuid.uuid4().hex[:8]}"
        user = User.objects.create(username=name, is_staff=True, is_superuser=not permissions)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        client.name = name
        return client

    with override_settings(**ADMIN):
        yield log_in


def act(client, where, action, *rows):
    """Do something with selected rows, and return what is told of it."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return told(client.post(where, data, follow=True))


def queries_of(client, where):
    with CaptureQueriesContext(connections["default"]) as captured:
        assert client.get(where).status_code == 200
    return len(captured)


def told(response):
    assert response.status_code == 200
    return " ".join(
        re.findall(r'<li class="(?:success|info|error)">(.*?)</li>', response.content.decode(), re.DOTALL)
    )


def test_turns_are_listed_with_state_age_cost_and_error(pages, staff):
    message = pages.message("!error 400 no more credit")
    enqueue(message)
    pages.ended(message)
    pages.Message.objects.filter(pk=message.pk).update(cost=1.5, input_tokens=1200, output_tokens=34)
    html = staff().get(TURNS).content.decode()
    row = re.search(rf'<tr>(?:(?!</tr>).)*?value="{message.pk}".*?</tr>', html, re.DOTALL)[0]
    for shown in ("failed", "ago, took", "$1.5000", "1,200 → 34", "no more credit", "parts</a>"):
        assert shown in row, shown


def test_the_parts_of_a_turn_have_a_page(pages, staff):
    message = pages.message(
        '!say **Look** <script>\n!tool bash {"command": "seq 3", "description": "Count"}\n!say Done.'
    )
    enqueue(message)
    pages.ended(message)
    html = staff().get(f"{TURNS}{message.pk}/parts/").content.decode()
    assert "<strong>Look</strong>" in html
    assert "seq 3" in html
    assert "Look</strong> &lt;script&gt;" in html


def test_the_page_of_a_turn_changes_nothing_that_the_turn_writes(pages, staff):
    message = pages.message("hello")
    enqueue(message)
    row = pages.ended(message)
    wait_until(lambda: dispatcher().idle)  # its last write would refuse the view's transaction, on SQLite
    response = staff().post(
        f"{TURNS}{message.pk}/change/",
        {
            "conversation": row.conversation_id,
            "lease": 5,
            "content": "forged",
            "status": "failed",
            "prompt": "forged",
        },
    )
    assert response.status_code == 302
    after = pages.row(message)
    assert (after.content, after.status, after.prompt, after.lease) == (row.content, "completed", "hello", 5)


def test_turns_are_cancelled(pages, staff, held):
    running, ended = pages.message(SLOW), pages.message("hello")
    for message in (running, ended):
        enqueue(message)
    pages.ended(ended)
    wait_until(lambda: pages.row(running).content)
    user = staff()
    said = act(user, TURNS, "cancel_turns", running, ended)
    assert "1 cancelled." in said
    assert "1 had ended already." in said
    row = pages.row(running)
    assert (row.status, row.error["by"]) == ("cancelled", user.name)


def test_turns_are_tried_again(pages, staff):
    message, fine = pages.message("!error 400 no"), pages.message("hello")
    for each in (message, fine):
        enqueue(each)
        pages.ended(each)
    said = act(staff(), TURNS, "retry_turns", message, fine)
    assert "1 tried again." in said
    assert "1 neither failed nor cancelled" in said
    again = pages.Message.objects.filter(conversation_id=message.conversation_id).exclude(pk=message.pk).get()
    assert pages.ended(again).status == "failed"


def test_sessions_are_listed_with_their_state_and_what_they_cost(pages, staff):
    conversation = pages.conversation()
    for cost in (1.25, 2.5):
        pages.message("hello", conversation, cost=cost)
    session_id = session_for(conversation).ensure(shared_client())
    html = staff().get(SESSIONS).content.decode()
    row = re.search(rf'<tr>(?:(?!</tr>).)*?value="{conversation.pk}".*?</tr>', html, re.DOTALL)[0]
    for shown in (session_id, "ready (", "$3.7500"):
        assert shown in row, shown


def test_a_session_tells_why_its_last_turn_failed_and_leads_to_it(pages, staff):
    conversation = pages.conversation()
    fine, failed = (
        pages.message("hello", conversation),
        pages.message("!error 400 no more credit", conversation),
    )
    waits = pages.message("hello", conversation)
    for each in (fine, failed):
        enqueue(each)
        pages.ended(each)
    user = staff()
    html = user.get(SESSIONS).content.decode()
    row = re.search(rf'<tr>(?:(?!</tr>).)*?value="{conversation.pk}".*?</tr>', html, re.DOTALL)[0]
    links = re.findall(r'<a href="([^"]*/parts/)">(.*?)</a>', row)
    assert [url for url, _ in links] == [f"{TURNS}{failed.pk}/parts/"] * 2, f"not that of {waits}"
    assert links[0][1] == "failed"
    assert "no more credit" in links[1][1]
    assert user.get(links[0][0]).status_code == 200


def test_sessions_are_listed_in_as_many_queries_however_many_there_are(pages, staff):
    user = staff()
    user.get(SESSIONS)
    few = queries_of(user, SESSIONS)
    for _ in range(5):
        pages.message("hello", error={"name": "Oops"}, status="failed", started_at=timezone.now())
    assert queries_of(user, SESSIONS) == few


def test_sessions_are_reconciled(pages, staff, client):
    changed, same, none = pages.conversation(), pages.conversation(), pages.conversation()
    for each in (changed, same):
        session_for(each).ensure(shared_client())
    pages.Conversation.objects.filter(pk=changed.pk).update(title="Porto")
    said = act(staff(), SESSIONS, "reconcile_sessions", changed, same, none)
    assert "1 had changed, and are in force again." in said
    assert "2 were in force, or have no session." in said
    changed.refresh_from_db()
    assert client.get(changed.opencode_session_id).title == "Porto"


@pytest.mark.usefixtures("bare_database")  # another database, without the table
def test_sessions_that_no_row_names_are_listed_and_deleted_when_that_is_confirmed(
    pages, staff, sessions_of, monkeypatch
):
    from opencode_sessions.django.admin import sessions as module

    user = staff()
    gone, kept = pages.conversation(), pages.conversation()
    left = session_for(gone).ensure(shared_client())
    named = session_for(kept).ensure(shared_client())
    gone.delete()
    assert left not in user.get(f"{SESSIONS}prune/").content.decode(), "it was used only just now"
    monkeypatch.setattr(module, "_GRACE", module.timedelta())
    leads = user.post(SESSIONS, {"action": "prune_sessions", "_selected_action": [kept.pk]})
    assert leads["Location"].endswith("prune/")
    html = user.get(f"{SESSIONS}prune/").content.decode()
    assert left in html
    assert named not in html
    said = told(user.post(f"{SESSIONS}prune/", {"session": [left, named]}, follow=True))
    assert "1 session deleted." in said
    assert sessions_of(f"chat_conversation:{kept.pk}")
    assert not [info for info in shared_client().list(all_directories=True) if info.id == left]


def test_without_a_namespace_no_session_is_listed_or_deleted(pages, staff, web_settings, monkeypatch):
    from opencode_sessions.django.admin import sessions as module

    monkeypatch.setattr(module, "_GRACE", module.timedelta())
    del web_settings["NAMESPACE"]
    with override_settings(OPENCODE=web_settings):
        user, gone = staff(), pages.conversation()
        left = session_for(gone).ensure(shared_client())
        gone.delete()
        for answer in (user.get(f"{SESSIONS}prune/"), user.post(f"{SESSIONS}prune/", {"session": [left]})):
            said = told(answer)
            assert "no namespace was given" in said
            assert "There are none" not in answer.content.decode()
            assert left not in answer.content.decode()
        assert shared_client().get(left).id == left


@pytest.mark.parametrize("using", sample(["default", "postgres"], "postgres"))
def test_actions_are_left_out_of_atomic_requests_in_every_database(pages, staff, monkeypatch, using):
    routers = ["web_project.policy.ToPostgres"] if using == "postgres" else []
    with override_settings(DATABASE_ROUTERS=routers):
        conversation = pages.conversation(using)
        message = pages.message("!error 400 no", conversation, using)
        session_for(conversation).ensure(shared_client())
        pages.Conversation.objects.using(using).filter(pk=conversation.pk).update(title="Porto")
        user = staff()
        for alias in ("default", "postgres"):
            monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
        assert "are in force again." in act(user, SESSIONS, "reconcile_sessions", conversation)
        assert "1 cancelled." in act(user, TURNS, "cancel_turns", message)
        assert "1 tried again." in act(user, TURNS, "retry_turns", message)
        assert user.get(f"{SESSIONS}prune/").status_code == 200


def test_a_server_that_is_away_is_told(pages, staff, web_settings):
    conversation = pages.conversation()
    session_for(conversation).ensure(shared_client())
    pages.Conversation.objects.filter(pk=conversation.pk).update(title="Porto")
    user = staff()
    with override_settings(OPENCODE={**web_settings, "SERVER": "http://127.0.0.1:9"}):
        assert "127.0.0.1:9" in act(user, SESSIONS, "reconcile_sessions", conversation)
        assert "cannot be looked for now" in told(user.get(f"{SESSIONS}prune/"))


def test_who_may_only_look_can_do_nothing(pages, staff):
    message = pages.message("hello")
    user = staff("view_message", "view_conversation")
    html = user.get(TURNS).content.decode()
    assert "cancel_turns" not in html
    assert "retry_turns" not in html
    act(user, TURNS, "cancel_turns", message)
    assert pages.row(message).status == "pending"
    assert user.get(f"{TURNS}{message.pk}/parts/").status_code == 200
    assert user.get(f"{SESSIONS}prune/").status_code == 403
    assert "prune" not in user.get(SESSIONS).content.decode()
    assert staff("view_conversation").get(f"{TURNS}{message.pk}/parts/").status_code == 403
