"""Whatever a server, or something that is none, sends as its event stream: no crash, no hang, bounded memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from fuzz_target import check, consume, decoded, folded, framed, recordings
from hypothesis import given, settings
from hypothesis import strategies as st

from opencode_sessions.protocol.events import Event, Unknown
from opencode_sessions.wire.v1 import frames, responses

RECORDINGS = recordings()

texts = st.text(st.characters(exclude_categories=()), max_size=12)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from([10**400, -(10**400)])
)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
places = st.lists(st.integers(0, 40_000), max_size=8)


def nested(depth, kind):
    value = []
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def paths(value, path=()):
    """The way to every value in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*path, key))


def replaced(value, path, by):
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], by)
    return copy


@st.composite
def mutated(draw):
    """A recorded turn in which values are replaced, and frames lost, doubled and swapped."""
    told = list(framed(RECORDINGS[draw(st.sampled_from(sorted(RECORDINGS)))]))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(told) - 1))
        match draw(st.sampled_from(["replace", "replace", "replace", "lose", "double", "swap"])):
            case "replace":
                path = draw(st.sampled_from(list(paths(told[place]))))
                told[place] = replaced(told[place], path, draw(json_values))
            case "lose" if len(told) > 1:
                del told[place]
            case "double":
                told.insert(draw(st.integers(0, len(told))), told[place])
            case "swap":
                other = draw(st.integers(0, len(told) - 1))
                told[place], told[other] = told[other], told[place]
    return told


@pytest.mark.parametrize("name", RECORDINGS)
@settings(max_examples=20, deadline=None)
@given(cuts=places)
def test_a_recorded_turn_gives_the_same_reply_wherever_its_bytes_are_cut(name, cuts):
    whole = folded(decoded(RECORDINGS[name]))
    check(whole)
    assert whole.final
    assert folded(decoded(RECORDINGS[name], cuts)).to_json() == whole.to_json()


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_a_turn_with_anything_in_any_place_is_folded(told):
    check(folded([frames.parse_event(frame) for frame in told]))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(RECORDINGS)),
    st.lists(st.tuples(st.integers(0, 30_000), st.binary(max_size=6))),
    places,
)
def test_a_turn_with_other_bytes_in_any_place_is_folded(name, strokes, cuts):
    data = bytearray(RECORDINGS[name])
    for place, piece in strokes:
        data[place : place + len(piece)] = piece
    consume(bytes(data), cuts)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), places)
def test_any_bytes_are_folded(data, cuts):
    consume(data, cuts)
    consume(b"data: " + data + b"\n\n", cuts)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_any_json_is_an_event(value):
    assert isinstance(frames.parse_event(value), Event)
    consume(b"data: " + json.dumps(value).encode() + b"\n\n")


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("depth", [200, 100_000])
def test_what_is_nested_without_end_is_kept_up_to_a_depth(kind, depth):
    told = framed(RECORDINGS["tools"])
    deep = nested(depth, kind)
    for frame in told:
        part = frame["payload"]["properties"].get("part", {})
        if part.get("type") == "tool":
            part["state"] = part["state"] | {"input": {"deep": deep}, "metadata": {"deep": deep}}
    reply = folded([frames.parse_event(frame) for frame in told])
    check(reply)
    assert "…" in json.dumps(reply.tools[0].input, ensure_ascii=False)
    for odd in (
        {"payload": {"type": deep}},
        {"payload": deep},
        {"type": "session.error", "properties": {"error": deep}},
    ):
        assert isinstance(frames.parse_event(odd), Event)


@pytest.mark.parametrize("piece", [b"[", b'{"payload":'])
def test_json_that_opens_without_end_is_no_event(piece):
    assert decoded(b"data: " + piece * 20_000 + b"\n\n") == []
    assert decoded(b"data: " + piece * 20_000 + b"]" * 20_000 + b"\n\n") == []


def test_numbers_that_nobody_can_count_with_count_nothing():
    info = {"id": "msg_1", "sessionID": "ses_1", "cost": float("nan")}
    info["tokens"] = {"input": 10**400, "output": float("inf"), "reasoning": True, "cache": {"read": "7"}}
    message = responses.parse_envelope(info)
    assert message.cost == 0
    assert set(message.tokens.values()) == {0}


@pytest.mark.parametrize("broken", ["id", "messageID"])
def test_an_id_that_is_no_text_makes_the_event_unknown(broken):
    part = {"id": "prt_1", "messageID": "msg_1", "type": "text"} | {broken: {}}
    frame = {"payload": {"type": "message.part.updated", "properties": {"sessionID": "ses_1", "part": part}}}
    assert isinstance(frames.parse_event(frame), Unknown)


def test_a_flood_for_one_turn_takes_the_memory_of_what_it_says():
    told = framed(RECORDINGS["tools"])
    (begins,) = [
        frame
        for frame in told
        if frame["payload"]["type"] == "message.part.delta"
        and frame["payload"]["properties"]["delta"] == "I "
    ]
    reply = folded([frames.parse_event(frame) for frame in told[: told.index(begins)]])
    lost = replaced(begins, ("payload", "properties", "partID"), "prt_never")
    tracemalloc.start()
    try:
        for number in range(20_000):
            frame = replaced(lost, ("payload", "properties", "delta"), f"{number} " * 20)
            reply.apply(frames.parse_event(frame))
        assert tracemalloc.get_traced_memory()[0] < 4_000_000
    finally:
        tracemalloc.stop()
    check(reply)
