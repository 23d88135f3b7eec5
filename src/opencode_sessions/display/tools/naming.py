"""Names for people, of tools that only their server knows: `github_create_issue` is GitHub's `create issue`."""

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
    """`create_issue`, `create-issue` and `createIssue` as `create issue`; what is written in capitals stays so."""
    parts = [part for part in _SEAMS.split(one_line(name)) if part]
    return " ".join(part if part.isupper() and len(part) > 1 else part.lower() for part in parts)


def provider(server: str) -> str:
    """The name of an MCP server, as its makers spell it."""
    known = " ".join(_SPELLED.get(word.lower(), word) for word in words(server).split())
    return known[:1].upper() + known[1:]


def provider_of(tool: str) -> tuple[str, str]:
    """The server and what it does, as people say them, of a tool's name.

    The server joins both with an underscore, so a server with one in its name cannot be told from its tool (1.18.33).
    The first is empty where there is none: a tool of a plugin.
    """
    server, _, name = tool.strip("_").partition("_")
    if not server or not words(name):
        return "", words(tool) or text("a tool")
    return provider(server), words(name)
