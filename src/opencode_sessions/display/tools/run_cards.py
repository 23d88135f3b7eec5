"""Cards of tools that run something: a command, a program, a sub-agent."""

from __future__ import annotations

import re

from opencode_sessions.display.coerce import cut, entries, laid_out, number, objects, one_line, pretty, prose
from opencode_sessions.display.tools.calls import Call, state_of
from opencode_sessions.display.tools.cards import Code, Command, Step, SubAgent
from opencode_sessions.display.tools.paths import short
from opencode_sessions.display.tools.registry import kind_of
from opencode_sessions.protocol.plain import said

__all__ = ["code", "command", "sub_agent"]

_NO_OUTPUT = "(no output)"
_REMARK = re.compile(r"<shell_metadata>\n?(.*?)\n?</shell_metadata>\s*\Z", re.DOTALL)
_LONGEST_REMARK = 2_000
_RESULT, _RESULT_ENDS = "<task_result>", "</task_result>"
_MOST_STEPS = 50


def command(call: Call) -> Command:
    """A command with its output, also while it runs."""
    told = said(call.told("output")) or call.output
    end = max(len(told) - _LONGEST_REMARK, 0)
    remark = _REMARK.search(told, end)
    printed = told[: remark.start()].rstrip() if remark else told
    shown = cut("" if printed.strip() == _NO_OUTPUT else printed, keep_end=True)
    return Command(
        command=laid_out(call.said("command")).text,
        output=shown.text,
        exit_code=number(call.told("exit")),
        description=one_line(call.given.get("description")),
        folder=call.path("workdir"),
        remark=one_line(remark[1], 500) if remark else "",
        left_out=shown.left_out,
    )


def sub_agent(call: Call) -> SubAgent:
    """A sub-agent's progress and answer."""
    answer = prose(_result(call.output))
    steps = [
        _step(said(step.get("tool")), said(step.get("title")), said(step.get("status")), call.root)
        for step in objects(call.progress.get("steps"))[-_MOST_STEPS:]
    ]
    return SubAgent(
        agent=one_line(call.given.get("subagent_type")),
        description=one_line(call.given.get("description")),
        prompt=laid_out(call.said("prompt")).text,
        status=one_line(call.progress.get("status")),
        steps=tuple(steps),
        earlier=max(number(call.progress.get("earlier")) or 0, 0),
        says="" if call.state == "done" else prose(said(call.progress.get("text"))).text,
        answer=answer.text.strip("\n"),
        waits_for=tuple(one_line(name) for name in entries(call.progress.get("waits_for"))[:_MOST_STEPS]),
        left_out=answer.left_out,
    )


def code(call: Call) -> Code:
    """A program and its calls."""
    shown, gave = laid_out(call.said("code")), cut(pretty(call.output), keep_end=True)
    steps = [
        _step(said(step.get("tool")).replace(".", "_"), "", said(step.get("status")), call.root)
        for step in objects(call.told("toolCalls"))[-_MOST_STEPS:]
    ]
    return Code(
        text=shown.text,
        language="javascript",
        steps=tuple(steps),
        output=gave.text,
        left_out=shown.left_out + gave.left_out,
    )


def _result(output: str) -> str:
    """The text between the first begin marker and the last end marker; the whole text if one is missing."""
    begins, ends = output.find(_RESULT), output.rfind(_RESULT_ENDS)
    if begins < 0 or ends < begins:
        return output
    return output[begins + len(_RESULT) : ends].removeprefix("\n")


def _step(tool: str, title: str, status: str, root: str) -> Step:
    kind, state = kind_of(tool), state_of(tool, status)
    return Step(
        tool=one_line(tool),
        icon=kind.icon,
        verb=kind.verb(state),
        target=kind.name or short(title, root),
        state=state,
    )
