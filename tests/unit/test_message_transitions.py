"""The transitions of a message's row are stated in the port, in the conformance suite and in the docs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from opencode_sessions.store.messages import MessageStore
from opencode_sessions.testing.conformance.messages import port

DOCS = Path(__file__).parents[2] / "docs" / "stores.md"

PORT = {
    name
    for name, member in vars(MessageStore).items()
    if inspect.iscoroutinefunction(member) and name != "load"
}


def test_the_docs_have_a_row_for_each_call_of_the_port():
    table = DOCS.read_text().partition("The store of a message")[2].partition("Any other row")[0]
    assert set(re.findall(r"^\| `(\w+)\(", table, re.MULTILINE)) == PORT


def test_the_conformance_suite_knows_what_each_call_of_the_port_does():
    assert set(port._AFTER) == PORT
    told = re.findall(r"^\| (.*?) \|", port.__doc__, re.MULTILINE)
    assert {name for cell in told for name in re.findall(r"`(\w+)", cell)} == PORT
