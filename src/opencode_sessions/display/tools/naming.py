"""Readable names for tools of MCP servers and plugins: `github_create_issue` is GitHub's `create issue`."""

from __future__ import annotations

import re

from opencode_sessions.display.coerce import one_line
from opencode_sessions.texts import text

__all__ = ["provider", "provider_of", "words"]

_SPELLED = {
    name.lower(): name
    for name in (
        "AWS", "Brave", "Chrome", "CircleCI", "Cloudflare", "Confluence", "Context7", "DeepWiki", "Figma",
        "GitHub", "GitLab", "Google", "Grafana", "HubSpot", "Jira", "Linear", "MCP", "MongoDB", "MySQL", "Neon",
        "Notion", "Playwright", "PostgreSQL", "Redis", "Salesforce", "Sentry", "Slack", "SQLite", "Stripe",
        "Supabase", "Vercel",
    )
}  # fmt: skip
_SEAMS = re.compile(r"[_\-\s.]+|(?<=[a-z0-9])(?=[A-Z])")


def words(name: str) -> str:
    """`create_issue`, `create-issue` and `createIssue` as `create issue`; words in capitals stay so."""
    parts = [part for part in _SEAMS.split(one_line(name)) if part]
    return " ".join(part if part.isupper() and len(part) > 1 else part.lower() for part in parts)


def provider(server: str) -> str:
    """The usual spelling of an MCP server's name."""
    known = " ".join(_SPELLED.get(word.lower(), word) for word in words(server).split())
    return known[:1].upper() + known[1:]


def provider_of(tool: str) -> tuple[str, str]:
    """The readable names of the MCP server and the action in a tool's name.

    OpenCode joins both with an underscore, so an underscore in the server's name is ambiguous (1.18.33). For a tool of
    a plugin, the first name is empty.
    """
    server, _, name = tool.strip("_").partition("_")
    if not server or not words(name):
        return "", words(tool) or text("a tool")
    return provider(server), words(name)
