"""The app: `"opencode_sessions.django"` in `INSTALLED_APPS`."""

from __future__ import annotations

import signal

from django.apps import AppConfig

__all__ = ["OpencodeConfig"]


class OpencodeConfig(AppConfig):
    """The app. It has no tables: the models and their migrations belong to the host."""

    name = "opencode_sessions.django"
    label = "opencode_sessions"
    verbose_name = "OpenCode"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have texts come from Django; register the checks; take up what was left behind once this process serves.

        At the end of the process, release its own.
        """
        from django.core.checks import register  # noqa: PLC0415 - Django's way: not before it is ready
        from django.core.signals import request_started  # noqa: PLC0415 - likewise

        from opencode_sessions import texts  # noqa: PLC0415 - likewise
        from opencode_sessions.django import checks  # noqa: PLC0415 - likewise
        from opencode_sessions.django.host import shutdown, start_with_requests  # noqa: PLC0415 - likewise
        from opencode_sessions.django.texts import DjangoTexts  # noqa: PLC0415 - likewise
        from opencode_sessions.django.uploads import delete_with_rows  # noqa: PLC0415 - likewise
        from opencode_sessions.runtime.shutdown import install_handlers, on_signal  # noqa: PLC0415 - likewise

        texts.use(DjangoTexts())
        for check in (
            checks.check_settings,
            checks.check_models,
            checks.check_rules_of_records,
            checks.check_databases,
        ):
            register(check, checks.TAG)
        register(checks.check_deployment, checks.TAG, deploy=True)
        request_started.connect(start_with_requests, dispatch_uid="opencode_sessions.django")
        delete_with_rows()
        on_signal(signal.SIGTERM, shutdown)
        install_handlers()
