"""Translates names between the V2 line and this library: two tools, fields of rules and of tool inputs, and errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opencode_sessions.errors import InvalidRulesError
from opencode_sessions.protocol.permissions import NAMES_ON_2, Rule, deciding_rule

__all__ = ["ABORTED", "input_of", "name_of_error", "ours", "rules_of", "rules_to_json", "theirs"]

_OURS = {theirs: ours for ours, theirs in NAMES_ON_2.items()}

_FILE = {"path": "filePath"}
_INPUTS = {"read": _FILE, "write": _FILE, "edit": _FILE, "subagent": {"agent": "subagent_type"}}
"""For each tool: the fields of its input, by the server's name, with this library's name."""

ABORTED = "MessageAbortedError"

_ERRORS = {
    "aborted": ABORTED,
    "provider.content-filter": "ContentFilterError",
}


def ours(name: str) -> str:
    """This library's name of an action or a tool."""
    return _OURS.get(name, name)


def theirs(name: str) -> str:
    """The server's name of an action or a tool."""
    return NAMES_ON_2.get(name, name)


def input_of(tool: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's input, with this library's names."""
    renamed = _INPUTS.get(tool or "", {})
    return {renamed.get(name, name): value for name, value in given.items()}


def name_of_error(kind: str) -> str:
    """This library's name of an error, from the server's type."""
    return _ERRORS.get(kind) or ("APIError" if kind.startswith("provider.") else kind)


def rules_to_json(rules: Iterable[Rule]) -> list[dict[str, str]]:
    """The rules as the server takes them.

    Raises:
        InvalidRulesError: A rule has the server's name of an action, or a wildcard that matches only one of the two
            names that an action has.
    """
    rules = tuple(rules)
    for rule in rules:
        if rule.permission in _OURS:
            name = ours(rule.permission)
            raise InvalidRulesError(
                f"the rule for {rule.permission!r} has the name that an OpenCode 2.x server uses: write {name!r}, "
                "which this library translates for it"
            )
        for name, renamed in NAMES_ON_2.items():
            if rule.permission != name and _matches(rule, name) != _matches(rule, renamed):
                raise InvalidRulesError(
                    f"the rule for {rule.permission!r} matches only one of {name!r} and {renamed!r}, which is what an "
                    f"OpenCode 2.x server calls it: write a rule for {name!r}, and one for each other permission"
                )
    return [
        {"action": theirs(rule.permission), "resource": rule.pattern, "effect": rule.action} for rule in rules
    ]


def rules_of(found: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The server's rules, in this library's fields and names."""
    return tuple(
        {"permission": ours(rule["action"]), "pattern": rule["resource"], "action": rule["effect"]}
        for rule in found
    )


def _matches(rule: Rule, name: str) -> bool:
    return deciding_rule([Rule(rule.permission, "*", rule.action)], name, "") is not None
