"""Whom a frame concerns, told from its head: on what the real server writes, and on what no server should."""

from __future__ import annotations

import json
from collections import Counter

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.protocol.events import (
    MessageChanged,
    PartChanged,
    PartDelta,
    SessionChanged,
    SessionIdle,
)
from opencode_sessions.protocol.sse import SSEDecoder
from opencode_sessions.wire.v1 import session_peek
from opencode_sessions.wire.v1.frames import decode_event


def test_the_heads_of_a_real_turn_tell_the_session_that_parsing_tells(server, client):
    told, untold = Counter(), Counter()
    for data in frames_of_a_turn(server, client):
        event = decode_event(data)
        if event is not None:
            head = session_peek.session_of(data)
            assert head in (None, event.session_id)
            (told if head else untold)[type(event)] += 1
    assert told[PartDelta] > 0
    assert told[PartChanged] > 0
    assert untold[SessionChanged] > 0
    assert not {PartDelta, PartChanged, MessageChanged, SessionIdle} & set(untold)
    assert SessionChanged not in told


def frames_of_a_turn(server, client):
    auth = (server.username, server.password)
    with httpx2.stream("GET", f"{server.url}/global/event", auth=auth, trust_env=False) as response:
        chunks = response.iter_raw()
        decoder = SSEDecoder()
        yield from (framed.data for framed in decoder.feed(next(chunks)))
        client.prompt(client.create().id, "hello")
        for chunk in chunks:
            for framed in decoder.feed(chunk):
                yield framed.data
                if b'"session.idle"' in framed.data:
                    return


def written(frame):
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode()


def frame(properties, kind="message.part.delta", directory="/srv"):
    return {
        "directory": directory,
        "project": "global",
        "payload": {"id": "evt_1", "type": kind, "properties": properties},
    }


def test_a_plain_head_tells_its_session():
    assert session_peek.session_of(written(frame({"sessionID": "ses_1", "delta": "x"}))) == "ses_1"
    assert session_peek.session_of(written(frame({"sessionID": "ses_1"}, kind="session.idle"))) == "ses_1"


@pytest.mark.parametrize("kind", ["session.created", "session.updated", "session.deleted"])
def test_what_tells_whose_child_a_session_is_must_be_parsed(kind):
    assert session_peek.session_of(written(frame({"sessionID": "ses_1"}, kind=kind))) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8),
    lambda inner: st.dictionaries(
        st.sampled_from(["sessionID", "type", "payload"]) | st.text(max_size=4), inner
    ),
    max_leaves=6,
)
cunning = st.sampled_from(
    [
        "/srv",
        '","payload":{"id":"e","type":"a","properties":{"sessionID":"ses_no"}},"x":"',
        'a"b',
        "a\\",
        "ü\u2028",
    ]
)


@given(
    st.permutations(["sessionID", "delta", "info"]),
    cunning,
    json_values,
    json_values,
    st.sampled_from(["ses_1", 'ses"1', "ses-1", 7, None]),
)
def test_whatever_a_frame_looks_like_its_head_never_tells_another_session_than_it_says(
    order, directory, first, second, session_id
):
    values = {"sessionID": session_id, "delta": first, "info": second}
    whole = frame({key: values[key] for key in order}, directory=directory)
    assert session_peek.session_of(written(whole)) in (None, session_id)
    assert session_peek.session_of(written({"before": second, **whole})) in (None, session_id)
    assert session_peek.session_of(json.dumps(whole).encode()) is None


@given(st.binary(max_size=200))
def test_any_bytes_have_a_head_or_none(data):
    assert session_peek.session_of(data) is None
