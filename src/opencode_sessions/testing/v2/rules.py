"""Permission rules: which one decides, and which ones an agent starts with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import PurePosixPath
from typing import Any

__all__ = ["AGENTS", "Ruleset", "decide", "is_hidden", "normalized"]

Rule = Mapping[str, str]
Ruleset = list[dict[str, str]]

_ALLOWED: Ruleset = [
    {"action": "*", "resource": "*", "effect": "allow"},
    {"action": "external_directory", "resource": "*", "effect": "ask"},
    {"action": "read", "resource": "*.env", "effect": "ask"},
    {"action": "read", "resource": "*.env.*", "effect": "ask"},
    {"action": "read", "resource": "*.env.example", "effect": "allow"},
]
AGENTS: dict[str, dict[str, Any]] = {
    "build": {"mode": "primary", "permissions": _ALLOWED},
    "plan": {
        "mode": "primary",
        "permissions": [*_ALLOWED, {"action": "edit", "resource": "*", "effect": "deny"}],
    },
    "general": {
        "mode": "subagent",
        "permissions": [*_ALLOWED, {"action": "question", "resource": "*", "effect": "deny"}],
    },
}
"""The agents that every server has."""

_RENAMED = {"bash": "shell", "task": "subagent"}


def decide(action: str, resource: str, rules: Iterable[Rule], *, absolute: str | None = None) -> str:
    """What the last rule that matches says: `allow`, `ask` or `deny`; `ask` if none matches.

    Args:
        action: What is to be done.
        resource: What it is to be done to.
        rules: The rules, the ones that override at the end.
        absolute: The whole path of the resource, which rules with a whole path are compared with.
    """
    for rule in reversed(list(rules)):
        whole = absolute is not None and PurePosixPath(rule["resource"]).is_absolute()
        target = (whole and absolute) or resource
        if _matches(action, rule["action"]) and _matches(target, rule["resource"]):
            return rule["effect"]
    return "ask"


def is_hidden(action: str, rules: Iterable[Rule]) -> bool:
    """Whether the model is not even told of a tool, as the last rule about it denies it for everything."""
    about = [rule for rule in rules if _matches(action, rule["action"])]
    return bool(about) and about[-1]["resource"] == "*" and about[-1]["effect"] == "deny"


def _matches(text: str, pattern: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    wild = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    if pattern.endswith(" *"):
        wild = wild.removesuffix(r"\ .*") + r"( .*)?"
    return re.compile(wild, re.DOTALL)


def normalized(rules: Any) -> Ruleset:
    """The rules of a configuration, also of one that was written for a 1.x server.

    Args:
        rules: A list of rules; or effects by action, or by action and resource.
    """
    if isinstance(rules, str):
        rules = {"*": rules}
    if not isinstance(rules, Mapping):
        return [dict(rule) for rule in rules or ()]
    return [
        {"action": _renamed(action), "resource": resource, "effect": effect}
        for action, effects in rules.items()
        for resource, effect in ({"*": effects} if isinstance(effects, str) else effects).items()
    ]


def _renamed(action: str) -> str:
    return _RENAMED.get(action, action)
