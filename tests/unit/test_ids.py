import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.protocol.ids import is_session_id, new_message_id, new_part_id, new_session_id

MAKERS = {"ses": new_session_id, "msg": new_message_id, "prt": new_part_id}
AT = 1_700_000_000_123_000_000


@pytest.mark.parametrize("prefix", MAKERS)
@given(time_ns=st.none() | st.integers(0, 2**80))
def test_an_id_has_the_native_form_at_any_time(prefix, time_ns):
    assert re.fullmatch(prefix + "_[0-9a-f]{12}[0-9A-Za-z]{14}", MAKERS[prefix](time_ns=time_ns))


@pytest.mark.parametrize("make", MAKERS.values())
def test_ids_of_one_instant_are_all_different(make):
    assert len({make(time_ns=AT) for _ in range(20_000)}) == 20_000


def test_threads_never_get_the_same_id():
    with ThreadPoolExecutor(8) as pool:
        ids = [
            id_
            for batch in pool.map(lambda _: [new_message_id() for _ in range(500)], range(8))
            for id_ in batch
        ]
    assert len(set(ids)) == 4_000


def test_every_one_of_the_62_characters_can_stand_at_every_random_place():
    ids = [new_part_id(time_ns=AT)[-14:] for _ in range(4_000)]
    assert {len(set(column)) for column in zip(*ids, strict=True)} == {62}


def test_the_time_stands_in_the_id_as_the_server_writes_it():
    expected = (AT // 1_000_000 * 4096) % 2**48
    assert int(new_message_id(time_ns=AT)[4:16], 16) == expected
    assert int(new_part_id(time_ns=AT)[4:16], 16) == expected
    assert int(new_session_id(time_ns=AT)[4:16], 16) == 2**48 - 1 - expected


def test_parts_made_one_after_the_other_sort_in_that_order():
    times = [AT + 1_000 * step for step in range(1_000)]
    ids = [new_part_id(time_ns=time_ns) for time_ns in times]
    assert ids == sorted(ids)


def test_without_a_time_the_clock_is_read(monkeypatch):
    monkeypatch.setattr("time.time_ns", lambda: AT)
    assert new_message_id()[:16] == new_message_id(time_ns=AT)[:16]


@pytest.mark.parametrize("text", ["ses_0", "ses_anything-else_1", "ses_df6bd34363f0QqWihL5Yn0RAWq"])
def test_a_session_id_of_any_maker_is_one(text):
    assert is_session_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ses",
        "ses_",
        "msg_0a",
        " ses_0",
        "ses_0 ",
        "ses_0\n",
        "ses_0/message",
        "ses_..",
        "ses_0?x",
        "SES_0",
        "ses_é",
    ],
)
def test_what_cannot_stand_in_a_path_is_no_session_id(text):
    assert not is_session_id(text)
