"""Find gaps in a list of rules that looks closed (OpenCode 1.18.33)."""

from __future__ import annotations

from collections.abc import Sequence

from opencode_sessions.protocol.permissions import NAMES_ON_2, Rule, allow, deciding_rule, evaluate

__all__ = ["review_rules"]

# The permissions for which the server's own agents ask, unless a rule of the session decides otherwise.
_ASKED_BY_DEFAULT = {
    "external_directory": ("/etc/passwd", "files outside the agent's folder"),
    "read": (".env", "dotenv files"),
}
_ASKED_IN_SUB_AGENTS_TOO = {"external_directory", "task", "question", "doom_loop"}


def review_rules(rules: Sequence[Rule]) -> list[str]:
    """A warning for each gap that the host probably did not intend, with advice.

    Args:
        rules: The rules of a session, in their order.
    """
    return [*_opened(rules), *_unasked(rules), *_misnamed(rules)]


def _opened(rules: Sequence[Rule]) -> list[str]:
    """Rules for all permissions that remove the agent's own asks."""
    found = []
    for permission, (example, what) in _ASKED_BY_DEFAULT.items():
        rule = deciding_rule(rules, permission, example)
        if rule is not None and rule.action == "allow" and rule.permission == "*":
            found.append(
                f"{_shown(rule)} opens {what} as well: add a rule for {permission!r} after it, or begin with a preset "
                "such as READ_WRITE"
            )
    return found


def _unasked(rules: Sequence[Rule]) -> list[str]:
    """Actions that a sub-agent does without asking, although its parent must ask."""
    if evaluate([allow("*"), *rules], "task", "general") != "allow":
        return []
    asked = {
        rule.permission
        for rule in rules
        if rule.action == "ask"
        and rule.permission not in _ASKED_IN_SUB_AGENTS_TOO
        and evaluate(rules, rule.permission, rule.pattern) == "ask"
    }
    if not asked:
        return []
    said = (
        f"a sub-agent does without asking what these rules ask for ({', '.join(sorted(asked))}): add deny('task') or "
        "ask('task'), or give the rules to every agent in the server's configuration (permission_config)"
    )
    return [said]


def _misnamed(rules: Sequence[Rule]) -> list[str]:
    """Rules with an OpenCode 2 name, which match nothing on a 1.x server."""
    return [
        f"{_shown(rule)} has OpenCode 2's name of {name!r}, and has no effect on OpenCode 1: write {name!r}, which "
        "holds on both"
        for rule in rules
        for name, renamed in NAMES_ON_2.items()
        if rule.permission == renamed
    ]


def _shown(rule: Rule) -> str:
    pattern = "" if rule.pattern == "*" else f", {rule.pattern!r}"
    return f"{rule.action}({rule.permission!r}{pattern})"
