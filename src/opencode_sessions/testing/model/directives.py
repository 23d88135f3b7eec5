"""The directive language: lines in a prompt that control the scripted model.

::

    !tool NAME {ARGUMENTS}        call a tool; each such line is a step of its own
    !and NAME {ARGUMENTS}         call one more, in the same step as the line before it
    !reason TEXT                  reason with this text first
    !say TEXT                     say this, instead of the echo or the closing sentence
    !slow SECONDS                 wait this long before every delta, from this step on
    !error STATUS MESSAGE         the provider refuses, every time (OpenCode retries 5xx, not 400)
    !rate-limit SECONDS [TIMES]   429 with Retry-After, once or TIMES times, then go on
    !cut [TIMES]                  the stream breaks in the middle, once or TIMES times, then go on

The arguments are a JSON object on the same line; without them a tool is called without arguments. Lines before a
`!tool` line belong to its step; lines after the last one belong to the closing text. Lines that do not begin with `!`
and a letter are the user's text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing.model.script import Call, Cut, Refusal, Script, Step

__all__ = ["parse_directives", "without_directives"]

_DIRECTIVE = re.compile(r"\s*!([a-z][a-z-]*)\s*(.*?)\s*", re.IGNORECASE | re.DOTALL)
_LONGEST_PAUSE = 3600.0
_MOST_TIMES = 1000
_ERROR_STATUSES = range(400, 600)


def parse_directives(text: str) -> Script:
    """Read the directives in a prompt.

    Args:
        text: The user's text. Without any directive the script has one plain step.

    Returns:
        The script, which always ends with a step without calls.

    Raises:
        ConfigurationError: A directive is invalid. The message names its line and the reason.
    """
    steps: list[Step] = []
    step = Step()
    for number, line in enumerate(text.split("\n"), 1):
        directive = _DIRECTIVE.fullmatch(line)
        if not directive:
            continue
        verb, rest = directive[1].lower(), directive[2]
        if step.calls and verb != "and":
            steps.append(step)
            step = Step(pause=step.pause)
        try:
            step = _read(verb)(step, rest)
        except ValueError as error:
            raise ConfigurationError(f"I cannot follow line {number}, {_shorten(line)}: {error}.") from error
    if step.calls:
        steps.append(step)
        step = Step(pause=step.pause)
    return Script(*steps, step)


def without_directives(text: str) -> str:
    """The user's text without directives; the whole text if there is nothing else."""
    plain = "\n".join(line for line in text.split("\n") if not _DIRECTIVE.fullmatch(line))
    return plain.strip() or text.strip()


def _read(verb: str) -> Callable[[Step, str], Step]:
    if verb not in _VERBS:
        known = ", ".join(f"!{name}" for name in _VERBS)
        raise ValueError(f"there is no !{verb}, only {known}")
    return _VERBS[verb]


def _tool(step: Step, rest: str) -> Step:
    name, _, arguments = rest.partition(" ")
    if not name or name.startswith("{"):
        raise ValueError("the tool's name is missing")
    try:
        values = json.loads(arguments or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(
            f"its arguments are not JSON ({error.msg} at {arguments[error.pos :][:20]!r})"
        ) from error
    if not isinstance(values, dict):
        raise ValueError("its arguments are not a JSON object")  # noqa: TRY004  # all that is wrong with a line
    return replace(step, calls=(*step.calls, Call(name, values)))


def _and(step: Step, rest: str) -> Step:
    if not step.calls:
        raise ValueError("there is no !tool just before it")
    return _tool(step, rest)


def _reason(step: Step, rest: str) -> Step:
    return replace(step, reason=_joined(step.reason, _text(rest)))


def _say(step: Step, rest: str) -> Step:
    return replace(step, say=_joined(step.say, _text(rest)))


def _slow(step: Step, rest: str) -> Step:
    return replace(step, pause=_seconds(rest))


def _error(step: Step, rest: str) -> Step:
    status, _, message = rest.partition(" ")
    if not status.isdecimal() or int(status) not in _ERROR_STATUSES:
        raise ValueError("it takes an HTTP status from 400 to 599 and a message")
    return _with_trouble(step, Refusal(int(status), message.strip() or f"scripted error {status}"))


def _rate_limit(step: Step, rest: str) -> Step:
    seconds, _, times = rest.partition(" ")
    limit = Refusal(429, "Rate limit reached", retry_after=_seconds(seconds), times=_times(times))
    return _with_trouble(step, limit)


def _cut(step: Step, rest: str) -> Step:
    return _with_trouble(step, Cut(times=_times(rest)))


_VERBS: dict[str, Callable[[Step, str], Step]] = {
    "tool": _tool,
    "and": _and,
    "reason": _reason,
    "say": _say,
    "slow": _slow,
    "error": _error,
    "rate-limit": _rate_limit,
    "cut": _cut,
}


def _text(rest: str) -> str:
    if not rest:
        raise ValueError("its text is missing")
    return rest


def _joined(before: str | None, text: str) -> str:
    return f"{before}\n{text}" if before else text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("it takes a number of seconds") from None
    if not 0 <= seconds <= _LONGEST_PAUSE:
        raise ValueError(f"it takes 0 to {_LONGEST_PAUSE:g} seconds")
    return seconds


def _times(text: str) -> int:
    text = text.strip() or "1"
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_TIMES:
        raise ValueError(f"it can happen 1 to {_MOST_TIMES} times")
    return int(text)


def _with_trouble(step: Step, trouble: Refusal | Cut) -> Step:
    if step.trouble:
        raise ValueError("one thing a step can go wrong, and this is the second")
    return replace(step, trouble=trouble)


def _shorten(line: str, limit: int = 80) -> str:
    line = line.strip()
    return f'"{line}"' if len(line) <= limit else f'"{line[:limit]}…"'
