"""Turns and sessions in Django's admin, in one line each.

    @admin.register(Message)
    class MessageAdmin(TurnAdmin): ...

    @admin.register(Conversation)
    class ConversationAdmin(SessionAdmin): ...

Django's permissions on the models decide who may do what; `OPENCODE["MAY_SEE"]` is not used here.
"""

from __future__ import annotations

from opencode_sessions.django.admin.sessions import SessionAdmin
from opencode_sessions.django.admin.turns import TurnAdmin

__all__ = ["SessionAdmin", "TurnAdmin"]
