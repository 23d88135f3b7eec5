"""The app: it has two tables, and its migrations make them."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["ArtifactsConfig"]


class ArtifactsConfig(AppConfig):
    """Its tables are where the routers send it; they know rows of the host's by their keys alone."""

    name = "opencode_sessions.django.artifacts"
    label = "opencode_artifacts"
    verbose_name = "OpenCode files"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """See to it that artifacts go with the rows of the host's."""
        from opencode_sessions.django.artifacts.deletion import connect  # noqa: PLC0415 - not before all models are there

        connect()
