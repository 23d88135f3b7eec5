"""The nginx configuration of docs/deploy.md passes a stream on as it comes."""

from __future__ import annotations

import re
import subprocess

import httpx2
import pytest
from fix_django_app import FRUIT, fruit_as_it_comes, held_words, wait_until
from fix_docs import page
from fix_programs import find_program
from ports import free_port

pytestmark = pytest.mark.full

AROUND = """
daemon off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


@pytest.fixture
def nginx(tmp_path):
    """Call it for the address of an nginx before this one."""
    started = []

    def start(url):
        [location] = re.findall(r"^```nginx\n(.*?)^```$", page("deploy.md"), re.DOTALL | re.MULTILINE)
        port = free_port()
        location = location.replace("http://127.0.0.1:8000", url)
        (tmp_path / "nginx.conf").write_text(AROUND.format(folder=tmp_path, port=port, location=location))
        command = [find_program("nginx"), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "log")]
        started.append(subprocess.Popen(command))
        return f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.terminate()
        process.wait()


def test_nginx_passes_each_event_on_when_it_comes(nginx, docs_folder, serve):
    served = serve("app:app", docs_folder("tutorial-fastapi.md").path)
    url = nginx(served.url)

    def opened():
        try:
            return httpx2.get(url).status_code == 200
        except httpx2.TransportError:
            return False

    wait_until(opened)
    grew = [0]
    with httpx2.Client(base_url=url, timeout=100) as visitor, held_words() as words:
        visitor.get("/")
        made = visitor.post("/messages", json={"prompt": f"!say {' '.join(FRUIT)}"}).json()
        words.up_to(1)
        with visitor.stream("GET", f"/turns/{made['table']}/{made['pk']}/events") as events:
            grew += [came for _, came in fruit_as_it_comes(events.iter_raw(), words)]
    # A word is said when the one before has come.
    assert sorted(set(grew)) == list(range(len(FRUIT) + 1))
