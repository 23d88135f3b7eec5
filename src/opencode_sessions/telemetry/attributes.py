"""What spans and metrics say of a turn, in the words of the GenAI semantic conventions where they have one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from opencode_sessions.protocol.events import StoredMessage
from opencode_sessions.turns.results import TurnResult

__all__ = [
    "AGENT",
    "CHAT",
    "TOOL",
    "error_of",
    "model_of",
    "of_step",
    "of_tool",
    "of_turn",
    "output_of",
    "tokens_of",
]

Attributes = dict[str, Any]

AGENT, CHAT, TOOL = "invoke_agent", "chat", "execute_tool"
"""The operations."""

_PROVIDERS = {
    "amazon-bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""Providers to which the conventions give another name than OpenCode does."""


def model_of(step: StoredMessage | None) -> Attributes:
    """The provider and the model: the only attributes of a step that metrics have."""
    if step is None or step.provider is None:
        return {}
    provider = _PROVIDERS.get(step.provider, step.provider)
    return {"gen_ai.provider.name": provider, "gen_ai.request.model": step.model or "unknown"}


def tokens_of(steps: Iterable[StoredMessage]) -> Attributes:
    """The tokens of some steps. The conventions count cached ones among the input, and thoughts among the output."""
    total = dict.fromkeys(("input", "output", "reasoning", "cache_read", "cache_write"), 0)
    for step in steps:
        for name in total:
            total[name] += step.tokens.get(name, 0)
    return {
        "gen_ai.usage.input_tokens": total["input"] + total["cache_read"] + total["cache_write"],
        "gen_ai.usage.output_tokens": total["output"] + total["reasoning"],
        "gen_ai.usage.reasoning.output_tokens": total["reasoning"],
        "gen_ai.usage.cache_read.input_tokens": total["cache_read"],
        "gen_ai.usage.cache_creation.input_tokens": total["cache_write"],
    }


def of_turn(result: TurnResult) -> Attributes:
    """A turn that has ended."""
    last = result.steps[-1] if result.steps else None
    found: Attributes = {
        "gen_ai.operation.name": AGENT,
        "gen_ai.conversation.id": result.session_id,
        "gen_ai.agent.name": last and last.agent,
        "gen_ai.response.finish_reasons": [last.finish] if last and last.finish else None,
        "opencode.turn.status": str(result.status),
        "opencode.prompt.id": result.prompt_id,
        "opencode.cost": result.cost,
        "error.type": error_of(result),
        **model_of(last),
        **(tokens_of(result.steps) if result.steps else {}),
    }
    return _given(found)


def of_step(step: StoredMessage) -> Attributes:
    """One answer of the model."""
    found: Attributes = {
        "gen_ai.operation.name": CHAT,
        "gen_ai.conversation.id": step.session_id,
        "gen_ai.response.id": step.id,
        "gen_ai.response.model": step.model,
        "gen_ai.response.finish_reasons": [step.finish] if step.finish else None,
        "opencode.cost": step.cost,
        "error.type": step.error and str(step.error.get("name")),
        **model_of(step),
        **tokens_of([step]),
    }
    return _given(found)


def of_tool(part: Mapping[str, Any], *, content: bool) -> Attributes:
    """One call of a tool, as its row has it."""
    found: Attributes = {
        "gen_ai.operation.name": TOOL,
        "gen_ai.tool.name": part.get("tool"),
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": part.get("call_id"),
        "error.type": "tool_error" if part.get("status") == "error" else None,
    }
    if content:
        found["gen_ai.tool.call.arguments"] = _json(part.get("input"))
        found["gen_ai.tool.call.result"] = part.get("output") or part.get("error")
    return _given(found)


def output_of(parts: Iterable[Mapping[str, Any]]) -> str:
    """What the model said, in the form of the conventions."""
    said = [{"type": "text", "content": part["text"]} for part in parts if part.get("type") == "text"]
    return json.dumps([{"role": "assistant", "parts": said}])


def error_of(result: TurnResult) -> str | None:
    """What went wrong, by its name; of a turn that was cancelled, nothing did."""
    if str(result.status) != "failed":
        return None
    return str((result.error or {}).get("name") or "_OTHER")


def _given(found: Attributes) -> Attributes:
    return {name: value for name, value in found.items() if value is not None}


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value)
