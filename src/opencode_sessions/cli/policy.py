"""What the agent of a chat may do. Nobody answers its questions, so nothing may be left to ask.

It reads, writes and searches in its working directory. It may not run commands: bash reaches everything
that the server's user can, whatever directory it starts in, and a real model would be behind it. The rules
are put in force when a session is made, and stay with it.
"""

from __future__ import annotations

from typing import Any

from opencode_sessions.protocol.permissions import Rule, allow, deny

__all__ = ["SERVER_CONFIG", "rules_for"]

_RULES = (
    allow("*"),  # a server's configuration may say "ask"
    deny("bash"),
    deny("external_directory"),
    # Secrets: the server would ask before it reads these.
    deny("read", "*.env"),
    deny("read", "*.env.*"),
    allow("read", "*.env.example"),
    # Tools that wait for a person.
    deny("question"),
    deny("plan_enter"),
    deny("plan_exit"),
)

# This one is looked up in the agent's rules alone, which come from the server's configuration.
SERVER_CONFIG = {"permission": {"doom_loop": "deny"}, "autoupdate": False, "share": "disabled"}


def rules_for(_conversation: Any) -> tuple[Rule, ...]:
    """The same for every conversation."""
    return _RULES
