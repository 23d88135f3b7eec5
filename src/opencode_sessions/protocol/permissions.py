"""Permission rules: they allow or deny an agent's actions in a session, or make the agent ask a person.

A rule has a permission (mostly that of a tool: ``edit``, ``bash``, ``webfetch``, …), a pattern for the object of the
action, and a decision. **The last rule that matches wins**, so write general rules first and exceptions after them. If
no rule matches, the agent asks::

    [deny("*"), allow("read"), allow("edit", "drafts/*"), deny("edit", "drafts/final.md")]

The agent's own rules come before a session's; permissions that a person gave with "always" come after them.

In the permission and in the pattern, `*` matches any characters, also `/` and line ends, and `?` matches one character.
All other characters match themselves; case matters, except on a server under Windows. A pattern that ends in a space
and `*` (`git *`) also matches without them (`git`). A backslash counts as `/`.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast, get_args

from opencode_sessions.errors import InvalidRulesError

__all__ = [
    "NAMES_ON_2",
    "Action",
    "Rule",
    "allow",
    "ask",
    "check_rules",
    "deciding_rule",
    "deny",
    "digest",
    "evaluate",
    "from_json",
    "permission_config",
    "to_json",
]

Action = Literal["allow", "ask", "deny"]

NAMES_ON_2 = {"bash": "shell", "task": "subagent"}
"""The permissions that an OpenCode 2.x server calls by another name, with that name."""

_ACTIONS: tuple[str, ...] = get_args(Action)
_FIELDS = ("permission", "pattern", "action")
_LAST_IN_BMP = "\uffff"


@dataclass(frozen=True, slots=True)
class Rule:
    """One permission rule.

    Attributes:
        permission: The permission; wildcards are allowed.
        pattern: The object of the action, such as a path or a command; wildcards are allowed.
        action: The decision: `allow`, `ask` or `deny`.

    Raises:
        InvalidRulesError: A field is not a text, is empty, or is not one of the decisions.
    """

    permission: str
    pattern: str
    action: Action

    def __post_init__(self) -> None:
        _check_text("permission", self.permission)
        _check_text("pattern", self.pattern)
        if self.action not in _ACTIONS:
            raise InvalidRulesError(
                f"a rule's action must be one of {', '.join(_ACTIONS)}, not {self.action!r}"
            )


def allow(permission: str, pattern: str = "*") -> Rule:
    """A rule that allows the action."""
    return Rule(permission, pattern, "allow")


def ask(permission: str, pattern: str = "*") -> Rule:
    """A rule that makes the agent ask a person, and wait for the answer."""
    return Rule(permission, pattern, "ask")


def deny(permission: str, pattern: str = "*") -> Rule:
    """A rule that denies the action. With the pattern `*` the agent does not even see the tool."""
    return Rule(permission, pattern, "deny")


def evaluate(rules: Iterable[Rule], permission: str, pattern: str) -> Action:
    """The server's decision about an action of an agent with these rules.

    Args:
        rules: All rules that apply, in the server's order: the agent's, then the session's.
        permission: The permission of the action, such as ``"edit"``.
        pattern: The object of the action, such as ``"docs/index.md"``, without wildcards.
    """
    decisive = deciding_rule(rules, permission, pattern)
    return "ask" if decisive is None else decisive.action


def deciding_rule(rules: Iterable[Rule], permission: str, pattern: str) -> Rule | None:
    """The rule that decides: the last one that matches; None if no rule matches. See `evaluate`."""
    decisive = None
    for rule in rules:
        if _matches(rule.permission, permission) and _matches(rule.pattern, pattern):
            decisive = rule
    return decisive


def check_rules(value: object) -> tuple[Rule, ...]:
    """Check the rules from a host.

    Args:
        value: A list, tuple or other ordered iterable (a generator is read to its end). Its items are rules, or dicts
            of exactly ``permission``, ``pattern`` and ``action``. If it is empty, only the agent's rules apply.

    Raises:
        InvalidRulesError: The value has another form. The message names the item and its fault.
    """
    return tuple(_parse(item, f"rule {index}", strict=True) for index, item in enumerate(_items(value)))


def to_json(rules: Iterable[Rule]) -> list[dict[str, str]]:
    """The rules in the server's form."""
    return [{name: getattr(rule, name) for name in _FIELDS} for rule in rules]


def permission_config(rules: Iterable[Rule]) -> dict[str, str | dict[str, str]]:
    """The rules as `permission` of a server's configuration, where they hold for every agent and sub-agent.

    Args:
        rules: The rules of one permission must follow each other, as in the presets, because a configuration has each
            permission once.

    Raises:
        InvalidRulesError: They do not follow each other, so their order would change.
    """
    config: dict[str, dict[str, str]] = {}
    for rule in rules:
        if rule.permission in config and rule.permission != next(reversed(config)):
            raise InvalidRulesError(
                f"a rule for {rule.permission!r} stands after rules for other permissions, and a configuration has "
                "each permission once: put the rules for it together"
            )
        patterns = config.setdefault(rule.permission, {})
        patterns.pop(rule.pattern, None)  # the last match wins, so a repeated pattern moves to the end
        patterns[rule.pattern] = rule.action
    # For some permissions a configuration accepts no patterns (1.18.33).
    return {name: given["*"] if [*given] == ["*"] else given for name, given in config.items()}


def from_json(value: object) -> tuple[Rule, ...]:
    """The rules in a session's `permission` from the server; None counts as no rules.

    Unknown fields are ignored here; in a host's rules they are an error.

    Raises:
        InvalidRulesError: The value is not a list of rules.
    """
    if value is None:
        return ()
    return tuple(
        _parse(item, f"the server's rule {index}", strict=False) for index, item in enumerate(_items(value))
    )


def digest(rules: Iterable[Rule]) -> str:
    """A fingerprint of the rules in their order, the same in every process and version.

    Returns:
        64 hex digits: the SHA-256 of the rules' JSON, keys sorted, no spaces, ASCII only.
    """
    canonical = json.dumps(to_json(rules), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _items(value: object) -> Iterable[object]:
    if isinstance(value, Rule):
        raise InvalidRulesError(f"permission rules come in a list, and this is a single rule: [{value!r}]")
    if value is None:
        raise InvalidRulesError(
            "permission rules come in a list, not None; for no rules of its own return []"
        )
    if isinstance(value, AbstractSet):
        raise InvalidRulesError(
            "permission rules come in a list, not a set: the last match wins, so order counts"
        )
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        preset = "; a preset is a list itself, without quotes" if isinstance(value, str) else ""
        raise InvalidRulesError(f"permission rules come in a list, not {_shown(value)}{preset}")
    return value


def _parse(item: object, which: str, *, strict: bool) -> Rule:
    """Convert one item of a list of rules; `strict` refuses unknown fields."""
    if isinstance(item, Rule):
        return item
    if not isinstance(item, Mapping):
        raise InvalidRulesError(
            f"{which} must be a Rule, as allow(), ask() and deny() make it, not {_shown(item)}"
        )
    if missing := [name for name in _FIELDS if name not in item]:
        raise InvalidRulesError(f"{which} lacks {', '.join(missing)}: {_shown(item)}")
    if strict and (unknown := [repr(name) for name in item if name not in _FIELDS]):
        raise InvalidRulesError(
            f"{which} has {', '.join(unknown)}, which a rule does not have: {_shown(item)}"
        )
    try:
        return Rule(item["permission"], item["pattern"], cast("Action", item["action"]))
    except InvalidRulesError as error:
        raise InvalidRulesError(f"{which}: {error}") from None


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRulesError(f"a rule's {name} must be a text, not {_shown(value)}")
    if not value:
        raise InvalidRulesError(f"a rule's {name} is empty, which matches nothing; for everything write '*'")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRulesError(
            f"a rule's {name} cannot be sent, it is not valid Unicode: {value!r}"
        ) from None


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 100 else text[:97] + '…'}"  # noqa: PLR2004 - a line's worth


def _matches(wildcard: str, text: str) -> bool:
    return _compile(wildcard).fullmatch(_code_units(text.replace("\\", "/"))) is not None


@lru_cache(maxsize=1024)
def _compile(wildcard: str) -> re.Pattern[str]:
    """The wildcard as a regular expression with the server's meaning, without exponential backtracking."""
    wildcard = _code_units(wildcard.replace("\\", "/"))
    expression = _expression(wildcard)
    if wildcard.endswith(" *"):
        expression += f"|{_expression(wildcard[:-2])}"
    return re.compile(expression, re.DOTALL)


def _expression(wildcard: str) -> str:
    """A regular expression that searches each text between two stars once, from the left."""
    first, *others = (
        "".join("." if char == "?" else re.escape(char) for char in run) for run in wildcard.split("*")
    )
    if not others:
        return first
    *middle, last = others
    return first + "".join(f"(?>.*?{run})" for run in middle if run) + f".*{last}"


def _code_units(text: str) -> str:
    """The text as JavaScript sees it, where an emoji is two characters and `?` matches one."""
    if all(char <= _LAST_IN_BMP for char in text):
        return text
    units = struct.iter_unpack("<H", text.encode("utf-16-le", "surrogatepass"))
    return "".join(chr(unit) for (unit,) in units)
