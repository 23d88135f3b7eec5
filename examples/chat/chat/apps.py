"""The app."""

from __future__ import annotations

from django.apps import AppConfig

from opencode_sessions.django import client, delete_session_with_row


class ChatConfig(AppConfig):
    """Ties the life of a session to that of its conversation."""

    name = "chat"

    def ready(self) -> None:
        """When a conversation is deleted, so is its session."""
        delete_session_with_row(self.get_model("Conversation"), client)
