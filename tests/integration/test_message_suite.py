"""The suite for message stores notices what is wrong with one."""

from __future__ import annotations

from contextlib import closing

import pytest
from broken_message_stores import NOTICED_BY, broken_bench
from fix_stores import sqlalchemy_urls
from message_benches import MemoryMessages

from opencode_sessions.errors import OpencodeError
from opencode_sessions.testing.conformance import MessageStoreConformance


def check(bench, store):
    """What has to notice the broken store, on that bench."""
    test, arguments = NOTICED_BY[store]
    getattr(MessageStoreConformance(), test)(bench, *arguments)


@pytest.mark.parametrize("store", NOTICED_BY, ids=lambda store: store.__name__)
def test_the_suite_notices_a_message_store_that(request, store):
    url = sqlalchemy_urls(request.getfixturevalue, "sqlite")[0]
    with closing(broken_bench(store, url)) as bench, pytest.raises((AssertionError, OpencodeError)):
        check(bench, store)


@pytest.mark.parametrize("store", NOTICED_BY, ids=lambda store: store.__name__)
def test_and_passes_one_that_is_not_wrong_in_that_way(request, store):
    right = next(base for base in store.__mro__ if base.__name__.endswith("MessageStore"))
    url = sqlalchemy_urls(request.getfixturevalue, "sqlite")[0]
    with closing(
        MemoryMessages() if "Memory" in right.__name__ else broken_bench(store.__mro__[1], url)
    ) as bench:
        check(bench, store)
