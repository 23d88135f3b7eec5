"""Helpers for the tests of a host."""

from __future__ import annotations

from opencode_sessions.testing.model.request import ModelRequest, ToolResult
from opencode_sessions.testing.model.rules import DEFAULT_RULE, Rule
from opencode_sessions.testing.model.script import Call, Cut, Refusal, Script, Step
from opencode_sessions.testing.model.server import ScriptedModel
from opencode_sessions.testing.proxy.faults import Fault
from opencode_sessions.testing.proxy.server import FaultProxy

__all__ = [
    "DEFAULT_RULE",
    "Call",
    "Cut",
    "Fault",
    "FaultProxy",
    "ModelRequest",
    "Refusal",
    "Rule",
    "Script",
    "ScriptedModel",
    "Step",
    "ToolResult",
]
