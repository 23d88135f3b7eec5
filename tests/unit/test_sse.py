import re
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.errors import EventTooLargeError
from opencode_sessions.protocol.sse import SSEDecoder, SSEEvent

LINE_ENDS = ["\n", "\r", "\r\n"]
LINE_SAFE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
DELTA = b'data: {"type":"message.part.delta","properties":{"field":"text","delta":"hello "}}\n\n'


def feed_all(decoder, chunks):
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def decode(*chunks):
    return feed_all(SSEDecoder(), chunks)


def cut(stream, cuts):
    edges = [0, *sorted(min(place, len(stream)) for place in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def reference(stream):
    """The standard, word for word, over the whole stream at once."""
    lines = re.split(b"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))[:-1]
    events, data, kind, last_id = [], b"", "", ""
    for line in lines:
        if line == b"":
            if data != b"":
                events.append(SSEEvent(data[:-1], kind or "message", last_id))
            data, kind = b"", ""
        elif line.startswith(b":"):
            pass
        else:
            field, value = line.split(b":", 1) if b":" in line else (line, b"")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"data":
                data += value + b"\n"
            elif field == b"event":
                kind = value.decode("utf-8", "replace")
            elif field == b"id" and b"\0" not in value:
                last_id = value.decode("utf-8", "replace")
    return events


@st.composite
def streams(draw):
    """A list of events and a way to write them: line ends, comments, a BOM, and where it is cut."""
    events, text, last_id = [], draw(st.sampled_from(["", "\ufeff"])), ""
    drafts = st.tuples(st.lists(LINE_SAFE, min_size=1, max_size=3), LINE_SAFE, st.sampled_from(LINE_ENDS))
    for data, kind, end in draw(st.lists(drafts, max_size=5)):
        lines = [f"data: {line}" for line in data]
        if kind:
            lines.insert(draw(st.integers(0, len(lines))), f"event: {kind}")
        if draw(st.booleans()):
            last_id = draw(LINE_SAFE).replace("\0", "")
            lines.insert(draw(st.integers(0, len(lines))), f"id: {last_id}")
        if draw(st.booleans()):
            lines.insert(draw(st.integers(0, len(lines))), f":{draw(LINE_SAFE)}")
        text += "".join(line + end for line in [*lines, ""])
        events.append(SSEEvent("\n".join(data).encode(), kind or "message", last_id))
    stream = text.encode()
    return events, stream, draw(st.lists(st.integers(0, len(stream)), max_size=8))


@given(streams())
def test_events_arrive_whatever_the_line_ends_and_wherever_the_chunks_are_cut(case):
    events, stream, cuts = case
    assert decode(*cut(stream, cuts)) == events == reference(stream)


@given(
    stream=st.lists(
        st.sampled_from(
            [b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\xef\xbb\xbf", b"\0", b"7"]
        )
        | st.binary(max_size=3),
        max_size=60,
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 120), max_size=10),
)
def test_any_bytes_give_what_the_standard_says(stream, cuts):
    assert decode(*cut(stream, cuts)) == reference(stream)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_each_line_end_of_the_standard_ends_a_line(end):
    assert decode(end.join([b"data: 1", b"", b"data: 2", b"", b""])) == [SSEEvent(b"1"), SSEEvent(b"2")]


def test_a_crlf_split_between_chunks_is_one_line_end():
    assert decode(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == [SSEEvent(b"a\nb")]


def test_an_event_that_ends_in_cr_is_there_before_the_next_byte():
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\r") == [SSEEvent(b"a")]
    assert decoder.feed(b"\ndata: b\r\n\r\n") == [SSEEvent(b"b")]


def test_several_data_lines_are_joined_by_a_line_feed():
    assert decode(b"data: a\ndata\ndata:b\ndata:  c\n\n") == [SSEEvent(b"a\n\nb\n c")]


def test_comments_and_unknown_fields_are_skipped():
    assert decode(b": hi\ndata: a\n:data: b\nDATA: c\ndatum: d\n data: e\n\n") == [SSEEvent(b"a")]


def test_an_event_without_data_is_none_but_its_id_counts():
    decoder = SSEDecoder()
    assert decoder.feed(b"event: ping\nid: 7\n\n") == []
    assert decoder.last_event_id == "7"
    assert decoder.feed(b"data: a\n\n") == [SSEEvent(b"a", "message", "7")]


def test_an_empty_data_line_is_an_event():
    assert decode(b"data\n\n") == [SSEEvent(b"")]


def test_the_event_name_is_for_one_event_and_the_id_stays():
    assert decode(b"event: x\nid: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n") == [
        SSEEvent(b"a", "x", "1"),
        SSEEvent(b"b", "message", "1"),
        SSEEvent(b"c", "message", ""),
    ]


def test_an_id_counts_only_once_its_event_is_whole():
    decoder = SSEDecoder()
    decoder.feed(b"id: 1\n\nid: 2\ndata: a\n")
    assert decoder.last_event_id == "1"


def test_an_id_with_a_nul_is_ignored():
    assert decode(b"id: 1\nid: 2\0\ndata: a\n\n") == [SSEEvent(b"a", "message", "1")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"retry: 1500", 1500),
        (b"retry:0", 0),
        (b"retry: -1", None),
        (b"retry", None),
        (b"retry: 1.5", None),
        (b"retry: " + b"9" * 5_000, None),
        ("retry: ٣".encode(), None),
    ],
)
def test_retry_is_kept_if_it_is_digits_of_a_sane_number(line, expected):
    decoder = SSEDecoder()
    decoder.feed(line + b"\n\n")
    assert decoder.retry == expected


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_skipped_at_the_start_and_only_there(size):
    stream = b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"
    assert decode(*(stream[at : at + size] for at in range(0, len(stream), size))) == [SSEEvent(b"a")]


def test_a_stream_that_starts_like_a_byte_order_mark_loses_nothing():
    assert decode(b"\xef", b"\xbb", b"\ndata: a\n\n") == [SSEEvent(b"a")]


def test_a_line_separator_inside_the_data_is_no_line_end():
    data = '{"text":"a\u2028b\u2029c\x85d\x0be\x0cf"}'.encode()
    assert decode(b"data: " + data + b"\n\n") == [SSEEvent(data)]


def test_an_incomplete_event_at_the_end_is_dropped_and_counted():
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\ndata: bc\nda") == [SSEEvent(b"a")]
    assert decoder.close() == len(b"data: bc\nda")
    assert decoder.close() == 0


def test_a_stream_that_ends_between_two_events_loses_nothing():
    decoder = SSEDecoder()
    decoder.feed(b"data: a\n\n: bye\n")
    assert decoder.close() == 0


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
@pytest.mark.parametrize(
    ("event", "fits"),
    [
        (b"data: " + b"x" * 93 + b"\n\n", True),
        (b"data: " + b"x" * 94 + b"\n\n", False),
        (b"data: " + b"x" * 43 + b"\ndata: " + b"x" * 43 + b"\n\n", True),
        (b"data: " + b"x" * 43 + b"\ndata: " + b"x" * 44 + b"\n\n", False),
        (b"data\n" * 20 + b"\n", True),
        (b"data\n" * 21 + b"\n", False),
        (b": " + b"x" * 97 + b"\ndata: a\n\n", True),
        (b": " + b"x" * 98 + b"\ndata: a\n\n", False),
        (b": x\n" * 100 + b"data: a\n\n", True),
        (b"event: " + b"x" * 94, False),
    ],
)
def test_the_cap_is_the_same_wherever_the_chunks_are_cut(event, fits, chunk):
    decoder = SSEDecoder(max_event_bytes=100)
    assert decoder.feed(b"data: before\n\n") == [SSEEvent(b"before")]
    pieces = [event[at : at + chunk] for at in range(0, len(event), chunk)]
    if fits:
        assert len(feed_all(decoder, pieces)) == 1
        assert decoder.feed(DELTA[:90] + b"\n\n")  # the next event has a cap of its own
    else:
        with pytest.raises(EventTooLargeError, match="more than 100 bytes"):
            feed_all(decoder, pieces)


@pytest.mark.parametrize("piece", [b"x" * 999, b"data\n" * 200, b"data: " + b"x" * 100 + b"\n", b"xy"])
def test_a_stream_without_an_end_of_event_is_held_only_up_to_the_cap(piece):
    decoder = SSEDecoder(max_event_bytes=200_000)
    fed = iter(range(0, 300_000, len(piece)))
    tracemalloc.start()
    try:
        with pytest.raises(EventTooLargeError):
            feed_all(decoder, (piece for _ in fed))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert 200_000 <= next(fed) <= 200_000 + 2 * len(piece)


def test_many_tiny_chunks_of_one_event_take_linear_time():
    def seconds(size):
        decoder, best = SSEDecoder(), []
        for _ in range(3):
            start = time.process_time()
            for _ in range(size):
                decoder.feed(b"xy")
            best.append(time.process_time() - start)
            decoder.feed(b"\n\n")
        return min(best)

    # Eight times the chunks: about 8 times the time, where re-scanning what is held would give 64.
    assert seconds(160_000) < 25 * seconds(20_000)
