"""What docs/django.md shows is made, in its order, into a project that migrates, answers, and runs its own tests."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from contextlib import suppress
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from fix_django_app import wait_until

from opencode_sessions.django.conf import _READERS
from opencode_sessions.server.binary import find_binary

pytestmark = pytest.mark.full

DOCS = (Path(__file__).parents[2] / "docs" / "django.md").read_text()
FILES = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def run(tmp_path_factory, server):
    """Runs a program in the project's folder; what it printed."""
    folder = tmp_path_factory.mktemp("shop")
    reach = {
        "OPENCODE_BASE_URL": server.url,
        "OPENCODE_SERVER_PASSWORD": server.password,
        "OPENCODE_BIN": str(find_binary()),  # which it would look for beside itself
    }
    environ = os.environ | reach | {"DJANGO_SETTINGS_MODULE": ""}

    def run(*command):
        done = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.folder, run.environ = folder, environ
    return run


@pytest.fixture(scope="module")
def shop(run):
    """The project, migrated."""
    del run.environ["DJANGO_SETTINGS_MODULE"]
    run("-m", "django", "startproject", "shop", ".")
    run("manage.py", "startapp", "chat")
    run.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    for name, text in FILES.items():
        path = run.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if name == "shop/settings.py" else "w") as file:
            file.write(text)
    run("manage.py", "makemigrations", "chat", "--verbosity", "0")
    run("manage.py", "migrate", "--verbosity", "0")
    return run


def test_nothing_is_wrong_with_it(shop):
    assert "no issues" in shop("manage.py", "check")
    assert "No changes detected" in shop("manage.py", "makemigrations", "--check")
    assert not re.search(r"^(broken|missing|warning)", shop("manage.py", "opencode_doctor"), re.MULTILINE)


def test_a_visitor_is_answered(shop):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar := CookieJar()))
    url = f"http://127.0.0.1:{port}/"

    def opened(url, **form):
        token = {cookie.name: cookie.value for cookie in jar}.get("csrftoken")
        form = form and urllib.parse.urlencode({**form, "csrfmiddlewaretoken": token}).encode()
        with (
            suppress(ConnectionError, urllib.error.URLError),
            browser.open(url, form or None, timeout=60) as page,
        ):
            return page.url, page.read().decode()

    with (run_folder := shop.folder / "log").open("wb") as log:
        command = [sys.executable, "manage.py", "runserver", "--noreload", str(port)]
        site = subprocess.Popen(command, cwd=shop.folder, env=shop.environ, stdout=log, stderr=log)
    try:
        conversation, page = wait_until(lambda: opened(url))
        assert "<title>A weekend in Lisbon</title>" in page
        opened(conversation, prompt="Where shall we eat?")
        wait_until(
            lambda: "You said: &quot;Where shall we eat?&quot;." in (opened(conversation) or ("", ""))[1]
        )
    finally:
        site.kill()
        site.wait()
        assert "Traceback" not in run_folder.read_text()


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


def test_every_setting_is_in_the_table():
    table = DOCS.partition("## Settings")[2].partition("## ")[0]
    for key in _READERS:
        assert f"`{key}`" in table
