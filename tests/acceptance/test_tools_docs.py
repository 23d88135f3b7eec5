"""The MCP program of docs/tools.md is called by an agent of the real server, as its rules allow."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

CODE = """
import shop_server
from opencode_sessions import Client, Session, Turn
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.testing import ScriptedModel

prompt = '!tool shop_price {"article": "pear"}\\n!say Done.'
with ScriptedModel() as model:
    config = model.config()
    with shop_server.start(**config) as server, Client(server.url, password=server.password) as client:
        for rules in (shop_server.RULES, shop_server.ASK_FIRST):
            session = Session(MemoryRecord("Fruit"), permissions_for=rules)
            result = Turn(MemoryMessage(prompt), session, client).run()
            calls = [part for part in result.parts if part["type"] == "tool"]
            print(result.status, [(call["tool"], call["status"], call.get("output")) for call in calls])
"""


def test_the_agent_calls_the_tool_if_its_rules_allow_it(docs_folder):
    folder = docs_folder("tools.md")
    allowed, denied = folder.run("-c", CODE).splitlines()[-2:]
    assert allowed == "completed [('shop_price', 'completed', '1.20')]"
    assert "1.20" not in denied
