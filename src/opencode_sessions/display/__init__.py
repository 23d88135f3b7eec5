"""View models of replies, asks and errors, independent of HTML: frozen dataclasses of plain text.

    for part in display(message.parts, status=message.status, asks=message.asks):
        match part:
            case Text(markdown=markdown):
                ...
            case Tool(title=title, state="done", detail=Diff(files=files)):
                ...

`display_message` returns the view of a whole message. Text from a model or a tool is never trusted. It is plain text
that the page must escape, unless the attribute is documented as Markdown. Invisible characters are marked: see
`opencode_sessions.protocol.visible`. URLs are http or https. Long texts are cut, and `left_out` counts the missing
lines. Nothing here raises, whatever the row contains.
"""

from __future__ import annotations

from opencode_sessions.display.asks import (
    Fact,
    Option,
    PermissionAsk,
    Question,
    QuestionAsk,
    ShownAsk,
    display_ask,
)
from opencode_sessions.display.errors import ShownError, display_error
from opencode_sessions.display.forms import Given, read_answer
from opencode_sessions.display.messages import ShownMessage, display_message
from opencode_sessions.display.model import (
    File,
    Notice,
    Patch,
    Shown,
    Structured,
    Text,
    Thought,
    Todos,
    Tool,
)
from opencode_sessions.display.parts import display
from opencode_sessions.display.tools.cards import (
    Answered,
    Code,
    Command,
    Data,
    Detail,
    Diff,
    FileContent,
    Listing,
    Match,
    Matches,
    Output,
    Page,
    Questions,
    Step,
    SubAgent,
    Todo,
    TodoList,
    ToolState,
)
from opencode_sessions.display.tools.diffs import DiffLine, FileDiff, Hunk

__all__ = [
    "Answered",
    "Code",
    "Command",
    "Data",
    "Detail",
    "Diff",
    "DiffLine",
    "Fact",
    "File",
    "FileContent",
    "FileDiff",
    "Given",
    "Hunk",
    "Listing",
    "Match",
    "Matches",
    "Notice",
    "Option",
    "Output",
    "Page",
    "Patch",
    "PermissionAsk",
    "Question",
    "QuestionAsk",
    "Questions",
    "Shown",
    "ShownAsk",
    "ShownError",
    "ShownMessage",
    "Step",
    "Structured",
    "SubAgent",
    "Text",
    "Thought",
    "Todo",
    "TodoList",
    "Todos",
    "Tool",
    "ToolState",
    "display",
    "display_ask",
    "display_error",
    "display_message",
    "read_answer",
]
