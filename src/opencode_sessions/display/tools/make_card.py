"""The functions that make the cards' contents, one for each tool, from its input and its result.

While a call runs, the card shows the input; afterwards it shows the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from opencode_sessions.display.coerce import (
    MOST_ITEMS,
    Json,
    cut,
    entries,
    laid_out,
    objects,
    one_line,
    pretty,
    prose,
    web_url,
)
from opencode_sessions.display.tools import file_cards, run_cards
from opencode_sessions.display.tools.calls import Call
from opencode_sessions.display.tools.cards import Answered, Data, Detail, Page, Questions, Todo, TodoList

__all__ = ["detail_of", "todo_list"]

_PAGE = 20_000
_SKILL = re.compile(r"<skill_content[^>\n]{0,400}>\n")
_SKILL_ENDS = "\nBase directory for this skill:"


def detail_of(call: Call) -> Detail | None:
    """The content of the card; None if its line is enough."""
    return _DETAILS.get(call.tool, data)(call)


def fetched(call: Call) -> Page | None:
    """A page of the web."""
    shown = prose(call.output, _PAGE)
    if not shown.text:
        return None
    markdown = call.given.get("format", "markdown") == "markdown"
    return Page(
        url=web_url(call.given.get("url")), text=shown.text, markdown=markdown, left_out=shown.left_out
    )


def found_pages(call: Call) -> Page | None:
    """The result of a web search: a text in the search engine's own form."""
    shown = cut(pretty(call.output))
    return Page(url="", text=shown.text, left_out=shown.left_out) if shown.text else None


def todos(call: Call) -> TodoList:
    """The list that was written, or will be written."""
    return todo_list(call.told("todos") or call.given.get("todos"))


def todo_list(value: object) -> TodoList:
    """A list of todos in the server's form."""
    found = objects(value)
    todos = (
        Todo(one_line(todo.get("content"), 500), one_line(todo.get("status")), one_line(todo.get("priority")))
        for todo in found[:MOST_ITEMS]
    )
    return TodoList(todos=tuple(todos), left_out=len(found[MOST_ITEMS:]))


def questions(call: Call) -> Questions:
    """The questions and their answers."""
    given = entries(call.told("answers"))
    answers = [[one_line(label, 500) for label in entries(each)] for each in given]
    found = [
        Answered(
            header=one_line(question.get("header")),
            text=one_line(question.get("question"), 1_000),
            options=tuple(
                one_line(option.get("label")) for option in objects(question.get("options"))[:MOST_ITEMS]
            ),
            answers=tuple(answers[place]) if place < len(answers) else (),
        )
        for place, question in enumerate(objects(call.given.get("questions"))[:MOST_ITEMS])
    ]
    return Questions(questions=tuple(found))


def skill(call: Call) -> Page | None:
    """The text of the skill, in Markdown."""
    text = call.output
    if found := _SKILL.search(text):
        text, ends, _ = text[found.end() :].partition(_SKILL_ENDS)
        text = text.rstrip("\n") if ends else text
    shown = prose(text, _PAGE)
    return Page(url="", text=shown.text, markdown=True, left_out=shown.left_out) if shown.text else None


def given(call: Call) -> Data | None:
    """The input, until the reply has it as a part of its own."""
    return None if call.state == "done" else _data(call.given, "")


def data(call: Call) -> Data:
    """The input and the result."""
    return _data(call.given, call.output)


def _data(given: Json, result: str) -> Data:
    shown, gave = laid_out(pretty(given) if given else ""), cut(pretty(result))
    return Data(given=shown.text, result=gave.text, left_out=shown.left_out + gave.left_out)


def _nothing(_: Call) -> None:
    return None


_DETAILS: dict[str, Callable[[Call], Detail | None]] = {
    "apply_patch": file_cards.diff,
    "bash": run_cards.command,
    "codesearch": found_pages,
    "edit": file_cards.diff,
    "execute": run_cards.code,
    "glob": file_cards.listing,
    "grep": file_cards.matches,
    "invalid": _nothing,
    "list": file_cards.output,
    "list_mcp_resource_templates": file_cards.output,
    "list_mcp_resources": file_cards.output,
    "lsp": file_cards.output,
    "multiedit": file_cards.diff,
    "patch": file_cards.diff,
    "plan_enter": file_cards.output,
    "plan_exit": file_cards.output,
    "question": questions,
    "read": file_cards.read,
    "read_mcp_resource": file_cards.output,
    "skill": skill,
    "StructuredOutput": given,
    "task": run_cards.sub_agent,
    "todoread": todos,
    "todowrite": todos,
    "webfetch": fetched,
    "websearch": found_pages,
    "write": file_cards.written,
}
