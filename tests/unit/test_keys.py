"""A row's key is read back as the primary key that it was made of, or not at all."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from opencode_sessions.store.keys import key_of, values_in


@pytest.mark.parametrize(
    ("values", "like"),
    [
        ((7,), (1,)),
        ((-7,), (1,)),
        ((uuid.uuid4(),), (uuid.uuid4(),)),
        (("plain",), ("other",)),
        (("a:b,c d:",), ("other",)),
        (("",), ("other",)),
        ((Decimal("1.50"),), (Decimal(2),)),
        ((7, "A"), (1, "B")),
        ((7, "A:1", uuid.uuid4()), (1, "", uuid.uuid4())),
        (("a,b", 1), ("other", 2)),
        (("50%,2C%2C%25", ",%,", "%252C"), ("", "", "")),
        (("50%2C",), ("other",)),
    ],
)
def test_a_key_is_read_back_as_what_it_was_made_of(values, like):
    found = values_in(key_of("some.messages", values), "some.messages", like)
    assert found == values
    assert list(map(type, found)) == list(map(type, like))


@pytest.mark.parametrize(
    ("key", "like"),
    [
        ("messages", (1,)),
        ("messages7", (1,)),
        ("other_messages:7", (1,)),
        ("messages_too:7", (1,)),
        ("messages:", (1,)),
        ("messages:seven", (1,)),
        ("messages:07", (1,)),
        ("messages: 7", (1,)),
        ("messages:7,8", (1,)),
        ("messages:7", (1, 2)),
        ("messages:7,a,b", (1, "two parts where the text has a comma")),
        ("messages:7", (uuid.uuid4(),)),
        ("messages:7", (b"7",)),
        ("messages:None", (None,)),
    ],
)
def test_what_is_no_key_of_such_a_row_is_read_as_none(key, like):
    assert values_in(key, "messages", like) is None


def test_two_keys_of_several_texts_never_read_the_same():
    rows = [("a,b", "c"), ("a", "b,c"), ("a%2Cb", "c"), ("a%252Cb", "c"), ("a", "b%2Cc")]
    assert len({key_of("seats", row) for row in rows}) == len(rows)


def test_a_key_of_one_text_stands_as_it_is():
    assert key_of("places", ["50%, or less"]) == "places:50%, or less"
