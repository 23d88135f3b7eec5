"""Rules that choose the script for a request. The first rule that matches wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing.model.directives import parse_directives, without_directives
from opencode_sessions.testing.model.request import ModelRequest, ToolResult
from opencode_sessions.testing.model.script import Script, Step

__all__ = ["DEFAULT_RULE", "Rule", "next_step"]

_QUOTED = 200
_QUOTED_RESULT = 80
_TITLE_WORDS = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition and an answer.

    Attributes:
        when: A text that the user's last message contains, a pattern that matches in it, or a function of the request.
        reply: The script, or a function from the request to the script.
    """

    when: str | re.Pattern[str] | Callable[[ModelRequest], bool]
    reply: Script | Callable[[ModelRequest], Script]

    def matches(self, request: ModelRequest) -> bool:
        """Whether this rule matches the request."""
        if isinstance(self.when, str):
            return self.when in request.prompt
        if isinstance(self.when, re.Pattern):
            return self.when.search(request.prompt) is not None
        return self.when(request)

    def script(self, request: ModelRequest) -> Script:
        """The script for a request that matches."""
        return self.reply if isinstance(self.reply, Script) else self.reply(request)


def follow_directives(request: ModelRequest) -> Script:
    """Follow the directives in the prompt; for an invalid one, answer with the reason."""
    try:
        return parse_directives(request.prompt)
    except ConfigurationError as error:
        return Script(Step(say=str(error)))


DEFAULT_RULE = Rule(when=lambda _: True, reply=follow_directives)
"""The directive language of the prompt and, without directives, the echo."""


def next_step(request: ModelRequest, rules: Iterable[Rule]) -> Step:
    """The answer to a request.

    Args:
        request: The request.
        rules: The rules, in order.

    Returns:
        A step that either calls tools or says something.
    """
    if request.is_title:
        return Step(say=_title(request))
    for rule in rules:
        if rule.matches(request):
            step = rule.script(request).step_after(len(request.tool_results))
            return step if step.calls or step.say is not None else replace(step, say=_closing(request))
    return Step(say=f"No rule matches {_quote(request.prompt)}: end the rules with DEFAULT_RULE for an echo.")


def _closing(request: ModelRequest) -> str:
    if request.tool_results:
        return f"Done. {' '.join(map(_report, request.tool_results))}"
    return _echo([without_directives(prompt) for prompt in request.prompts])


def _report(result: ToolResult) -> str:
    return f"{result.name}: {_quote(result.output, _QUOTED_RESULT)}"


def _echo(said: list[str]) -> str:
    match said:
        case [*_, before, last]:
            return f"You said: {_quote(last)}. Before that you said: {_quote(before)}."
        case [last]:
            return f"You said: {_quote(last)}."
        case _:
            return "You said nothing."


def _title(request: ModelRequest) -> str:
    words = without_directives(request.prompt).split()
    return " ".join(words[:_TITLE_WORDS]) or "Nothing yet"


def _quote(text: str, limit: int = _QUOTED) -> str:
    """The text in quotation marks, on one line, shortened if it is long."""
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= limit else f'"{line[:limit].rstrip()}…"'
