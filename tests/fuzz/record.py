"""Record a few turns of the real server, as the bytes of its event stream: what the fuzzing starts from.

    .venv/bin/python tests/fuzz/record.py

The recordings are kept with the tests; record anew when the server's events change.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from pathlib import Path

import httpx2

from opencode_sessions import Client, OpencodeServer, allow
from opencode_sessions.protocol.events import SessionIdle
from opencode_sessions.protocol.sse import SSEDecoder
from opencode_sessions.testing import ScriptedModel
from opencode_sessions.wire.v1 import frames

RECORDINGS = Path(__file__).with_name("recordings")
SUB_AGENT = {"description": "count", "subagent_type": "general", "prompt": "!reason hm\n!say sub says"}
TODO = {"content": "look", "status": "pending", "priority": "high"}
PROMPTS = {
    "tools": "!reason hm\n!say I look\n"
    '!tool bash {"command": "echo hi", "description": "greet"}\n!and nosuch {}\n!say done',
    "todos": f"!tool todowrite {json.dumps({'todos': [TODO]})}\n!say done",
    "sub-agent": f"!tool task {json.dumps(SUB_AGENT)}\n!say done",
    "cut": "!slow 0.1\n!cut 1\n!say one two three four five six",
    "error": "!error 400 on holiday",
}
_OF_NO_TURN = ("plugin.", "catalog.", "reference.", "integration.", "tui.", "server.", "file.")
_FOLDER = re.compile(rb"/tmp/[\w.-]+/work|tmp/[\w.-]+/work")


def main():
    RECORDINGS.mkdir(exist_ok=True)
    with (
        ScriptedModel() as model,
        OpencodeServer(config=model.config(), models={}) as server,
        Client(server.url, password=server.password) as client,
    ):
        for name, prompt in PROMPTS.items():
            data = b"".join(b"data: " + frame + b"\n\n" for frame in record(server, client, prompt))
            (RECORDINGS / f"{name}.sse").write_bytes(_FOLDER.sub(b"/srv/work", data))
            sys.stdout.write(f"{name}: {len(data):,} bytes\n")


def record(server, client, prompt):
    session_id = client.create(rules=[allow("*")]).id
    stream = httpx2.stream(
        "GET", f"{server.url}/global/event", auth=(server.username, server.password), trust_env=False
    )
    heard, quiet = [], threading.Event()
    with stream as response:
        reader = threading.Thread(target=read, args=(response, heard, quiet, session_id), daemon=True)
        reader.start()
        with client.subscribe(session_id) as events:  # the stream stands when this one does
            client.prompt(session_id, prompt)
            quiet.wait(60)
            while events.next(1) is not None:
                pass
        kinds = [(frame, json.loads(frame)["payload"]["type"]) for frame in list(heard)]
    return [frame for frame, kind in kinds if not kind.startswith(_OF_NO_TURN)]


def read(response, heard, quiet, session_id):
    decoder = SSEDecoder()
    try:
        for chunk in response.iter_raw():
            for event in decoder.feed(chunk):
                if not frames.is_repetition(event.data):
                    heard.append(event.data)
                    told = frames.parse_event(json.loads(event.data))
                    if isinstance(told, SessionIdle) and told.session_id == session_id:
                        quiet.set()
    except (httpx2.TransportError, httpx2.StreamError):
        return  # so it ends when it is closed


if __name__ == "__main__":
    main()
