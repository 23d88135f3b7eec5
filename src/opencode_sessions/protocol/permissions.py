"""Permission rules: what an agent may do in a session, may not, or must ask a person for.

A rule names a permission (mostly a tool's: ``edit``, ``bash``, ``webfetch``, …), a pattern for what the tool
is about to touch, and what follows. The server asks the rules in their order and **the last match wins**, so
the general comes first and the exception after it; where nothing matches, it asks::

    [deny("*"), allow("read"), allow("edit", "drafts/*"), deny("edit", "drafts/final.md")]

The agent's own rules come before a session's, and what a person answered with "always" comes after them.

In both the permission and the pattern `*` stands for any characters, `/` and line ends among them, and `?`
for one. Everything else stands for itself; case matters, except on a server under Windows. A pattern that
ends in a space and `*` (`git *`) also matches without them (`git`). A backslash is read as `/`.
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

_ACTIONS: tuple[str, ...] = get_args(Action)
_FIELDS = ("permission", "pattern", "action")
_LAST_IN_BMP = "\uffff"


@dataclass(frozen=True, slots=True)
class Rule:
    """One permission rule. A rule that the server could not take cannot be made.

    Attributes:
        permission: The permission that it is about; wildcards allowed.
        pattern: What it is about to touch; wildcards allowed.
        action: What follows.

    Raises:
        InvalidRulesError: A field is not a text, is empty, or is none of the actions.
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
    """The agent may."""
    return Rule(permission, pattern, "allow")


def ask(permission: str, pattern: str = "*") -> Rule:
    """The agent must ask a person, and waits until one answers."""
    return Rule(permission, pattern, "ask")


def deny(permission: str, pattern: str = "*") -> Rule:
    """The agent may not. With the pattern `*` the server does not even show it the tool."""
    return Rule(permission, pattern, "deny")


def evaluate(rules: Iterable[Rule], permission: str, pattern: str) -> Action:
    """The server's decision when an agent with these rules is about to do something.

    Args:
        rules: All that apply, in the server's order: the agent's, then the session's.
        permission: What the agent needs, such as ``"edit"``.
        pattern: What it is about to touch, such as ``"docs/index.md"``. Taken literally.
    """
    decisive = deciding_rule(rules, permission, pattern)
    return "ask" if decisive is None else decisive.action


def deciding_rule(rules: Iterable[Rule], permission: str, pattern: str) -> Rule | None:
    """The last of the rules that match, which is the one that counts; None if none does. As `evaluate`."""
    decisive = None
    for rule in rules:
        if _matches(rule.permission, permission) and _matches(rule.pattern, pattern):
            decisive = rule
    return decisive


def check_rules(value: object) -> tuple[Rule, ...]:
    """Make sure that what a host gave are rules.

    Args:
        value: A list, tuple or other ordered iterable (a generator is read to its end). Its items are rules,
            or dicts of exactly ``permission``, ``pattern`` and ``action``. It may be empty: the session
            then has its agent's rules only.

    Raises:
        InvalidRulesError: It is anything else; the message says which item, and what is wrong with it.
    """
    return tuple(_parse(item, f"rule {index}", strict=True) for index, item in enumerate(_items(value)))


def to_json(rules: Iterable[Rule]) -> list[dict[str, str]]:
    """The rules as the server takes them."""
    return [{name: getattr(rule, name) for name in _FIELDS} for rule in rules]


def permission_config(rules: Iterable[Rule]) -> dict[str, str | dict[str, str]]:
    """The rules as `permission` of a server's configuration, where they hold for every agent, sub-agents too.

    Args:
        rules: Those of one permission must stand together, as in the presets: a configuration has each permission once.

    Raises:
        InvalidRulesError: They do not stand together, and so would mean something else there.
    """
    config: dict[str, dict[str, str]] = {}
    for rule in rules:
        if rule.permission in config and rule.permission != next(reversed(config)):
            raise InvalidRulesError(
                f"a rule for {rule.permission!r} stands after rules for other permissions, and a configuration has "
                "each permission once: put the rules for it together"
            )
        patterns = config.setdefault(rule.permission, {})
        patterns.pop(rule.pattern, None)  # the last match wins, so a repeated pattern belongs at the end
        patterns[rule.pattern] = rule.action
    # Of some permissions a configuration may say no patterns (1.18.33).
    return {name: given["*"] if [*given] == ["*"] else given for name, given in config.items()}


def from_json(value: object) -> tuple[Rule, ...]:
    """The rules as the server gives them: a session's `permission`, None where it has none.

    Fields that this library does not know are skipped, other than in what a host writes.

    Raises:
        InvalidRulesError: It is not a list of rules.
    """
    if value is None:
        return ()
    return tuple(
        _parse(item, f"the server's rule {index}", strict=False) for index, item in enumerate(_items(value))
    )


def digest(rules: Iterable[Rule]) -> str:
    """A fingerprint of the rules, in their order: equal rules have equal ones, in every process and version.

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
    """One item of a list of rules; `strict` refuses what it does not know."""
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
    """The server's translation of a wildcard, save that it cannot backtrack exponentially."""
    wildcard = _code_units(wildcard.replace("\\", "/"))
    expression = _expression(wildcard)
    if wildcard.endswith(" *"):
        expression += f"|{_expression(wildcard[:-2])}"
    return re.compile(expression, re.DOTALL)


def _expression(wildcard: str) -> str:
    """A regular expression in which what stands between two stars is sought once, from the left, for good."""
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
