"""What a host needs to test its own turns."""

from __future__ import annotations

from .model import (
    DEFAULT_RULE,
    Call,
    Cut,
    ModelRequest,
    Refusal,
    Rule,
    Script,
    ScriptedModel,
    Step,
    ToolResult,
)

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
