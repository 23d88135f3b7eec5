"""The reference chat's way in, and its static files, over real connections to its own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from ports import free_port
from selection import sample

CHAT = Path(__file__).parents[2] / "examples" / "chat"
PATIENCE = 60
TOGETHER = 12
OUTSIDE = [
    "%2e%2e/",
    "%2e%2e/settings.py",
    "%2e%2e%2f%2e%2e%2fproject/settings.py",
    "..",
    "../../models.py",
    "..%5c..%5cproject%5csettings.py",
    "%252e%252e/",
    "chat/../../models.py",
    "chat/..%2f..%2fmodels.py",
    "%2e%2e/" * 20 + "etc/passwd",
    "/etc/passwd",
    "%2fetc/passwd",
    "%00",
    "chat/chat.css%00",
    "%2e%2e/%00",
    "%ff",
    "%0a",
    "n" * 300,
    "%2e%2e/" + "n" * 5000,
    "n/" * 3000,
    "",
    "chat",
    "chat/",
]

AT_ONCE = """
from http.client import HTTPConnection
from chat.door import link_for

def status(link):
    connection = HTTPConnection("127.0.0.1", {port}, timeout=60)
    connection.request("GET", link)
    return str(connection.getresponse().status)

for _ in range(5):
    first = status(link_for("grace"))
    link = link_for("grace")
    print(first, status(link), status(link))
"""


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """The chat, in a process of its own."""
    chat = Chat(tmp_path_factory.mktemp("chat"))
    yield chat
    chat.process.kill()
    chat.process.wait()


class Chat:
    def __init__(self, state):
        self._environ = {
            **os.environ,
            "CHAT_STATE": str(state),
            "OPENCODE_BASE_URL": "http://127.0.0.1:9",
            "PYTHONPATH": str(CHAT),
            "DJANGO_SETTINGS_MODULE": "project.settings",
        }
        self.manage("migrate", "-v0")
        self.port = free_port()
        arguments = ["project.asgi:application", "--port", str(self.port), "--lifespan", "off"]
        command = [sys.executable, "-m", "uvicorn", *arguments, "--log-level", "critical"]
        self.process = subprocess.Popen(command, env=self._environ)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def manage(self, *arguments):
        command = [sys.executable, str(CHAT / "manage.py"), *arguments]
        done = subprocess.run(command, env=self._environ, stdout=subprocess.PIPE, check=True, text=True)
        return done.stdout.strip()

    def links(self, *names):
        """A link for each of these users, of whom some may be the same one."""
        code = f"from chat.door import link_for; print(*map(link_for, {names}))"
        return self.manage("shell", "--no-imports", "-c", code).split()

    def get(self, path, cookie=""):
        """The status of a page, and the cookie of the login that came with it, if any did."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        found = re.search(r"chat_session=[^;]+", str(answer.headers.get_all("Set-Cookie")))
        return answer.status, found[0] if found else None

    def _answers(self):
        with suppress(OSError):
            return self.get("/login/")[0] == 200
        return False


def test_a_link_logs_in_and_a_second_request_is_refused(chat):
    (link,) = chat.links("ada")
    status, cookie = chat.get(link)
    assert status == 302
    assert chat.get("/", cookie)[0] == 200
    assert chat.get(link) == (403, None)


@pytest.mark.full
def test_a_link_that_is_made_in_the_second_of_a_login_holds_once_too(chat):
    """Django's own tokens look at the second of the last login: one would hold until that second is over."""
    seen = chat.manage("shell", "--no-imports", "-c", AT_ONCE.format(port=chat.port)).splitlines()
    assert seen == ["302 302 403"] * 5


@pytest.mark.full
def test_of_requests_that_come_at_once_with_one_link_one_is_let_in(chat):
    for number in range(4):
        (link,) = chat.links(f"user-{number}")
        together, seen = threading.Barrier(TOGETHER), []

        def ask(link=link, together=together, seen=seen):
            together.wait(PATIENCE)
            seen.append(chat.get(link))

        threads = [threading.Thread(target=ask) for _ in range(TOGETHER)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(status for status, _ in seen) == [302] + [403] * (TOGETHER - 1)
        assert sum(cookie is not None for _, cookie in seen) == 1


@pytest.mark.parametrize("name", ["", "%00", "%ff", "MQ", "LTE", "n" * 300, "OTk5" * 30])
@pytest.mark.parametrize("token", ["x", "%00", "x-y", "1-%ff", "n" * 300])
def test_a_link_that_was_not_made_here_is_refused(chat, name, token):
    assert chat.get(f"/enter/{name}/{token}/")[0] in {403, 404}


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path[:30])
def test_a_path_that_leads_out_of_the_static_files_or_to_none_is_not_found(chat, path):
    assert chat.get(f"/static/{path}")[0] == 404


def test_static_files_are_served_to_everybody(chat):
    assert chat.get("/static/chat/chat.css")[0] == 200


@pytest.mark.parametrize("path", ["c/{}/", "m/{}/"])
@pytest.mark.parametrize("number", sample(["9" * 25, "9" * 300]))
def test_a_number_that_no_database_has_is_not_found(chat, path, number):
    (link,) = chat.links("ada")
    _, cookie = chat.get(link)
    assert chat.get("/" + path.format(number), cookie)[0] == 404
