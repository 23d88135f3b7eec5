"""What is to be shown of a reply, an ask and an error, apart from HTML: frozen dataclasses that hold plain text.

    for part in display(message.parts, status=message.status, asks=message.asks):
        match part:
            case Text(markdown=markdown):
                ...
            case Tool(title=title, state="done", detail=Diff(files=files)):
                ...

`display_message` gives all of a message's row at once. What a model or a tool wrote is never trusted: it is plain text
to be escaped where it is shown, but for what is said to be Markdown; what cannot be seen in it is marked, see
`opencode_sessions.protocol.visible`; URLs are http or https ones; long things are cut, and say how much of them is left
out. Nothing here raises, whatever the row holds.
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
