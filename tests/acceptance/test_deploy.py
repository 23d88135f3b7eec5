"""The deployment of the examples: as much of it as can run on one machine without containers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import yaml
from fix_django_app import FRUIT, fruit_as_it_comes, held_words
from fix_fastapi import Served
from fix_programs import find_program
from ports import free_port

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
APP = DEPLOY / "app"
PATIENCE = 100


@pytest.fixture(scope="module")
def environ(server, postgres):
    """Of web processes and workers, with a fresh database; the one server has a name."""
    url = postgres.url("psycopg", postgres.create_database())
    environ = {
        **os.environ,
        "DATABASE_URL": url,
        "OPENCODE_SERVERS": f"a={server.url}",
        "OPENCODE_SERVER_PASSWORD": server.password,
    }
    queue = ["-m", "procrastinate", "--app", "shop.queue"]
    for command in (["shop.py"], [*queue, "schema", "--apply"]):
        subprocess.run([sys.executable, *command], cwd=APP, env=environ, check=True, capture_output=True)
    return environ


@pytest.fixture(scope="module")
def worker(environ):
    """A worker, which runs the turns."""
    command = ["-m", "procrastinate", "--app", "shop.queue", "worker", "--concurrency", "10"]
    with subprocess.Popen([sys.executable, *command], cwd=APP, env=environ) as process:
        yield process
        process.terminate()


@pytest.fixture(scope="module")
def web(environ, server, tmp_path_factory):
    """A web process."""
    served = Served("web:app", APP, server, environ, tmp_path_factory.mktemp("web"))
    served.wait_until_it_serves()
    yield served
    served.end()


@pytest.fixture(scope="module")
def proxy(web, tmp_path_factory):
    """The URL of nginx with the configuration of the example, in front of that process."""
    nginx, folder, port = find_program("nginx"), tmp_path_factory.mktemp("nginx"), free_port()
    (folder / "logs").mkdir()
    said = (DEPLOY / "nginx.conf").read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    said, upstreams = re.subn(r"server web-(\d):8000;", f"server 127.0.0.1:{web.port};", said)
    assert upstreams == 2
    (folder / "nginx.conf").write_text(said)
    user = "user root; " if os.geteuid() == 0 else ""
    options = ["-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    rest = ["-g", f"{user}daemon off; pid {folder}/nginx.pid;"]
    checked = subprocess.run([nginx, "-t", *options, *rest], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen([nginx, *options, *rest]) as process:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(httpx2.TransportError):
                httpx2.get(f"{url}/healthz")
                break
            time.sleep(0.05)
        yield url
        process.terminate()


@pytest.mark.full
def test_a_turn_of_a_worker_is_seen_through_the_proxy_as_it_grows(proxy, worker):
    with httpx2.Client(base_url=proxy, timeout=PATIENCE) as visitor, held_words() as words:
        chat = visitor.post("/chats").json()["pk"]
        message = visitor.post(f"/chats/{chat}/messages", data={"prompt": f"!say {' '.join(FRUIT)}"}).json()[
            "pk"
        ]
        grew = [0]
        words.up_to(1)
        with visitor.stream("GET", f"/turns/messages/{message}/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            for said, came in fruit_as_it_comes(events.iter_raw(), words):
                grew.append(came)
                if b"completed" in said:
                    break
        # A word is said when the one before has come. A proxy that buffers would give all of them at once.
        assert sorted(set(grew)) == list(range(len(FRUIT) + 1))
        assert visitor.get("/turns/messages/1000/events").status_code == 404
    assert httpx2.get(f"{proxy}/turns/messages/{message}/events", timeout=100).status_code == 401


@pytest.mark.parametrize("unit", ["opencode.service", "shop-web@.service", "shop-worker@.service"])
def test_the_units_are_right(unit, tmp_path):
    verify = find_program("systemd-analyze")
    # What they are started with is not on every machine; `env` is.
    at = unit.replace("@.", "@1.")
    (tmp_path / at).write_text((DEPLOY / "systemd" / unit).read_text())
    checked = subprocess.run([verify, "verify", tmp_path / at], capture_output=True, text=True, check=False)
    mine = [line for line in checked.stderr.splitlines() if at in line]
    assert mine == []


@pytest.mark.parametrize("file", ["systemd/opencode.service", "Dockerfile.opencode"])
def test_the_servers_are_started_with_the_plugin_and_with_options_that_there_are(file):
    words = re.findall(r"[\w.:/-]+", (DEPLOY / file).read_text().rpartition("opencode-sessions")[2])
    serve = words[: words.index("3G") + 1]
    assert serve[0] == "serve"
    done = subprocess.run(
        [sys.executable, "-m", "opencode_sessions.cli", *serve, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_compose_file_names_what_there_is():
    said = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = said["services"]
    servers = services["web-1"]["environment"]["OPENCODE_SERVERS"].split()
    assert {each.partition("//")[2] for each in servers} <= {f"{name}:4096" for name in services}
    upstreams = set(re.findall(r"server (web-\d):8000;", (DEPLOY / "nginx.conf").read_text()))
    assert upstreams == {name for name in services if name.startswith("web")}
    for service in services.values():
        build = service.get("build")
        if build is not None:
            assert (DEPLOY / (build["dockerfile"] if isinstance(build, dict) else "Dockerfile")).exists()
    assert {
        volume.partition(":")[0]
        for name in ("opencode-a", "opencode-b")
        for volume in services[name]["volumes"]
    } == {"a", "b"}
