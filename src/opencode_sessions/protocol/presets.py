"""Ready lists of permission rules, from the least to the most permissive. Each is complete on its own.

| | `READ_ONLY` | `ASK_FIRST` | `READ_WRITE` | `TRUSTED` |
|---|---|---|---|---|
| read and list files in the folder | yes | yes | yes | yes |
| read dotenv files; search in files, which would show them | no | no | no | yes |
| write files in the folder | no | a person decides | yes | yes |
| write what configures the server or Git | no | no | no | yes |
| run commands, fetch web pages | no | a person decides | no | yes |
| ask the user a question | no | yes | no | yes |
| start sub-agents | no | no | no | yes |
| files outside the folder | no | no | no | yes |
| any other tool, such as one of an MCP server | no | no | no | yes |

All except `TRUSTED` begin with ``deny("*")``: they decide about everything, and deny the tools of later releases.
To change one, add rules at its end: ``[*READ_WRITE, allow("webfetch", "https://docs.example.com/*")]``.
"""

from __future__ import annotations

from opencode_sessions.protocol.permissions import Rule, allow, ask, deny

__all__ = ["ASK_FIRST", "NOT_TO_EDIT", "READ_ONLY", "READ_WRITE", "TRUSTED"]

READ_ONLY: tuple[Rule, ...] = (
    deny("*"),
    allow("read"),
    deny("read", "*.env*"),
    deny("read", "mcp:*"),  # what MCP servers offer to be read
    # Not `grep`: its rule is matched with the text that it searches for, and it searches dotenv files too (1.18.33).
    allow("glob"),
    allow("list"),
    allow("todowrite"),
    allow("todoread"),
)
"""The agent reads and lists the files of its folder."""

# A server reads the first two, and runs programs that they name. Git runs programs from a repository's configuration.
NOT_TO_EDIT = tuple(
    deny("edit", path) for path in ("*.opencode/*", "*opencode.json*", "*.git", "*.git/*", "*.env*")
)

ASK_FIRST: tuple[Rule, ...] = (
    *READ_ONLY,
    ask("edit"),
    *NOT_TO_EDIT,
    ask("bash"),
    ask("webfetch"),
    ask("websearch"),
    allow("question"),
)
"""Like `READ_ONLY`, but a person decides about each change of a file, each command and each web page. A command that a
person allows can do all that the server's user can. There are no sub-agents, as those would not ask (1.18.33)."""

READ_WRITE: tuple[Rule, ...] = (*READ_ONLY, allow("edit"), *NOT_TO_EDIT)
"""The agent works on the files of its folder without asking. It runs no commands."""

TRUSTED: tuple[Rule, ...] = (allow("*"), allow("external_directory"), allow("read"))
"""The agent may do everything that the server's user can: for a server in a container or machine of its own."""
