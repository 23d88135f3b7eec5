"""A language model that answers by rules, for a real OpenCode server to talk to."""

from __future__ import annotations

from .request import ModelRequest, ToolResult
from .rules import DEFAULT_RULE, Rule
from .script import Call, Cut, Refusal, Script, Step
from .server import ScriptedModel

__all__ = [
    "DEFAULT_RULE",
    "Call",
    "Cut",
    "ModelRequest",
    "Refusal",
    "Rule",
    "Script",
    "ScriptedModel",
    "Step",
    "ToolResult",
]
