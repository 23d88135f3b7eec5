"""`TurnAdmin`: the turns of a message's model, with their state, answer and cost."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from opencode_sessions.display import display_error, display_message
from opencode_sessions.django.admin.doing import do_to_each
from opencode_sessions.django.host import cancel
from opencode_sessions.django.leases import abandoned
from opencode_sessions.django.messages import DjangoMessageStore
from opencode_sessions.django.texts import text_lazy
from opencode_sessions.django.views.access import outside_transactions
from opencode_sessions.django.views.retrying import retry_of
from opencode_sessions.sessions.prune_report import age_of
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.texts import counted, later, number, text

__all__ = ["TurnAdmin", "error_line", "state_of"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

_SHORT = 60
_NOTHING = "-"


class TurnAdmin(_ModelAdmin):
    """Lists turns, cancels and retries them, and shows their parts. The fields that a turn writes are read only."""

    list_display = (
        "__str__",
        "turn_state",
        "turn_age",
        "turn_cost",
        "turn_tokens",
        "turn_error",
        "turn_answer",
    )
    list_filter = ("status",)
    search_fields = ("prompt",)
    actions = ("cancel_turns", "retry_turns")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """The turns, annotated with whether they run, by the database's clock."""
        left = models.ExpressionWrapper(abandoned(), output_field=models.BooleanField())
        return super().get_queryset(request).annotate(opencode_abandoned=left)

    @admin.display(description=text_lazy("state"), ordering="status")
    def turn_state(self, message: Any) -> str:
        """The status, and the reason of a wait."""
        if message.status == TurnStatus.STREAMING.value:
            if getattr(message, "opencode_abandoned", False):
                return text("streaming (abandoned)")
            if message.asks:
                return text("streaming (waits for an answer)")
            if message.opencode_turn_parked:
                return text("streaming (is about to go on)")
        enqueued = message.status == TurnStatus.PENDING.value and message.opencode_turn_order
        if enqueued and message.opencode_turn_lease is None:
            return text("pending (waits for another turn)")
        return state_of(message.status)

    @admin.display(description=text_lazy("age"), ordering="started_at")
    def turn_age(self, message: Any) -> str:
        """The time since its begin, and its duration."""
        if message.started_at is None:
            return _NOTHING
        began = age_of(timezone.now() - message.started_at)
        if message.finished_at is None:
            return text("{time} ago", time=began)
        took: timedelta = message.finished_at - message.started_at
        return text("{time} ago, took {duration}", time=began, duration=age_of(took))

    @admin.display(description=text_lazy("cost"), ordering="cost")
    def turn_cost(self, message: Any) -> str:
        """The cost in US dollars."""
        return f"${number(message.cost, 4)}" if message.cost else _NOTHING

    @admin.display(description=text_lazy("tokens"), ordering="input_tokens")
    def turn_tokens(self, message: Any) -> str:
        """The input and output tokens."""
        return f"{number(message.input_tokens)} → {number(message.output_tokens)}"

    @admin.display(description=text_lazy("error"))
    def turn_error(self, message: Any) -> str:
        """The reason why it failed or was stopped."""
        return error_line(message.error)

    @admin.display(description=text_lazy("answer"))
    def turn_answer(self, message: Any) -> SafeString:
        """A link to its parts."""
        if message.pk is None:  # on the page that adds one
            return format_html("{}", text("none yet"))
        count = len(message.parts)
        parts = counted("{count} part", "{count} parts", count)
        return format_html('<a href="{}">{}</a>', self.parts_url(message.pk), parts)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any | None = None
    ) -> list[str] | tuple[str, ...]:
        """The fields that a turn writes; and the prompt, once the turn has begun."""
        fields = {*super().get_readonly_fields(request, obj), *DjangoMessageStore.columns, "turn_answer"}
        if obj is None or obj.status == TurnStatus.PENDING.value:
            fields.discard("prompt")
        return sorted(fields)

    def get_exclude(self, request: HttpRequest, obj: Any | None = None) -> list[str]:
        """The fields, without the parts, which have a page of their own."""
        return [*(super().get_exclude(request, obj) or ()), "parts", "asks"]

    def get_urls(self) -> list[URLPattern]:
        """The URLs, with the page of a turn's parts."""
        view = self.admin_site.admin_view(self.parts_view)
        return [path("<path:object_id>/parts/", view, name=self._url_name), *super().get_urls()]

    def parts_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page of a turn's parts, read only."""
        message = self.get_object(request, object_id)
        if not self.has_view_permission(request, message):
            raise PermissionDenied
        if message is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "title": text("Answer to {message}", message=message),
            "opts": self.opts,
            "message": message,
            "shown": display_message(message),
            "original": message,
        }
        return TemplateResponse(request, "opencode/admin/turn.html", context)

    @outside_transactions  # its actions ask the server
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """See `ModelAdmin`."""
        return super().changelist_view(request, extra_context)

    @admin.action(description=text_lazy("Cancel the selected turns"), permissions=["change"])
    def cancel_turns(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Cancel turns, in whatever process they run."""
        who = request.user.get_username()
        do_to_each(
            request,
            queryset,
            lambda each: cancel(each, by=who),
            done=partial(counted, "{count} cancelled.", "{count} cancelled."),
            not_done=partial(counted, "{count} had ended already.", "{count} had ended already."),
        )

    @admin.action(description=text_lazy("Try the selected turns again"), permissions=["add"])
    def retry_turns(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Retry turns that failed or were cancelled, in new messages."""
        do_to_each(
            request,
            queryset,
            lambda each: retry_of(each) is not None,
            done=partial(counted, "{count} tried again.", "{count} tried again."),
            not_done=partial(
                counted,
                "{count} neither failed nor cancelled: left as they are.",
                "{count} neither failed nor cancelled: left as they are.",
            ),
        )

    def parts_url(self, pk: Any) -> str:
        """The URL name of the page of a turn's parts, by the key of its message."""
        return reverse(f"{self.admin_site.name}:{self._url_name}", args=[pk])

    @property
    def _url_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_parts"


_STATES = {
    "pending": later("pending"),
    "streaming": later("streaming"),
    "completed": later("completed"),
    "cancelled": later("cancelled"),
    "failed": later("failed"),
}


def state_of(status: str) -> str:
    """A turn's status, as it is listed."""
    return text(_STATES.get(status, status))


def error_line(error: Any) -> str:
    """A message's `error` for the list; empty without one."""
    shown = display_error(error)
    if shown is None:
        return ""
    said = f"{shown.title}: {shown.text}" if shown.text else shown.title
    return said if len(said) <= _SHORT else f"{said[: _SHORT - 1]}…"
