"""The body of a request to a chat protocol: how large it may be, and why."""

from __future__ import annotations

import json

import pytest

from opencode_sessions.host import Refused
from opencode_sessions.host.chat_bodies import json_object


def test_a_body_with_a_large_file_is_read():
    assert json_object(json.dumps({"url": "A" * 2_000_000}).encode())["url"] == "A" * 2_000_000


def test_a_body_that_is_large_for_another_reason_is_refused_before_it_is_parsed():
    with pytest.raises(Refused, match="without its files") as caught:
        json_object(b'{"x": [' + b"{}," * 500_000 + b"{}")
    assert caught.value.status == 413
