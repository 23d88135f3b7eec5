"""`SessionAdmin`: the sessions of a record's model, with their state and cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from opencode_sessions.django.admin.doing import do_to_each
from opencode_sessions.django.admin.last_turns import LastTurn, last_turns, with_last_turns
from opencode_sessions.django.admin.turns import TurnAdmin, error_line, state_of
from opencode_sessions.django.clients import servers
from opencode_sessions.django.conf import settings
from opencode_sessions.django.databases import databases_with_table
from opencode_sessions.django.index import DjangoIndex
from opencode_sessions.django.records import DjangoRecordStore
from opencode_sessions.django.registry import message_models, record_field
from opencode_sessions.django.sessions import session_for
from opencode_sessions.django.texts import text_lazy
from opencode_sessions.django.views.access import outside_transactions
from opencode_sessions.errors import ConfigurationError, OpencodeError
from opencode_sessions.reporting import ErrorContext
from opencode_sessions.sessions.deletion import SessionDeleter
from opencode_sessions.sessions.prune_report import age_of
from opencode_sessions.sessions.pruning import Leftover, Pruner
from opencode_sessions.texts import counted, number, text

__all__ = ["SessionAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

_GRACE = timedelta(hours=24)
_NOTHING = "-"


class SessionAdmin(_ModelAdmin):
    """Lists records with their sessions, reconciles sessions, and prunes sessions that no row names any more."""

    list_display = (
        "__str__",
        "session_id",
        "session_state",
        "session_age",
        "session_cost",
        "session_turn",
        "session_error",
    )
    search_fields = ("opencode_session_id",)
    actions = ("reconcile_sessions", "prune_sessions")
    change_list_template = "opencode/admin/change_list.html"

    @admin.display(description=text_lazy("session"), ordering="opencode_session_id")
    def session_id(self, record: Any) -> str:
        """The session's id."""
        return record.opencode_session_id or _NOTHING

    @admin.display(description=text_lazy("state"))
    def session_state(self, record: Any) -> str:
        """The session's state."""
        if record.opencode_session_id is None:
            return text("none")
        if record.opencode_session_ready_at is None:
            deleting = record.opencode_session_digest == "deleting"
            return text("being deleted") if deleting else text("reserved")
        digest = (record.opencode_session_digest or "?")[:8]
        if record.opencode_turn:
            return text("ready ({digest}), a turn runs", digest=digest)
        return text("ready ({digest})", digest=digest)

    @admin.display(description=text_lazy("ready for"), ordering="opencode_session_ready_at")
    def session_age(self, record: Any) -> str:
        """When its rules came into force."""
        since = record.opencode_session_ready_at
        return _NOTHING if since is None else age_of(timezone.now() - since)

    @admin.display(description=text_lazy("cost"), ordering="opencode_bill")
    def session_cost(self, record: Any) -> str:
        """The cost of all its turns, in US dollars."""
        return f"${number(record.opencode_bill, 4)}" if record.opencode_bill else _NOTHING

    @admin.display(description=text_lazy("last turn"))
    def session_turn(self, record: Any) -> str:
        """The state of the last turn that has begun, as a link to its parts."""
        return (
            self._links((turn, state_of(turn.status)) for turn in last_turns(record, self._messages()))
            or _NOTHING
        )

    @admin.display(description=text_lazy("error"))
    def session_error(self, record: Any) -> str:
        """The reason why that turn failed or was stopped, as a link to its parts."""
        return self._links((turn, error_line(turn.error)) for turn in last_turns(record, self._messages()))

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """The records with the cost of their turns, and the last turns."""
        bill: Any = models.Value(0.0)
        for model, field in self._messages():
            turns: models.QuerySet[Any] = models.QuerySet(model)
            of_record = turns.filter(**{field: OuterRef("pk")}).order_by().values(field)
            total: Any = Subquery(
                of_record.annotate(total=Sum("cost")).values("total"), output_field=models.FloatField()
            )
            bill += Coalesce(total, 0.0)
        return with_last_turns(super().get_queryset(request), self._messages()).annotate(opencode_bill=bill)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any | None = None
    ) -> list[str] | tuple[str, ...]:
        """The fields that the session writes."""
        return [*super().get_readonly_fields(request, obj), *DjangoRecordStore.columns]

    def get_urls(self) -> list[URLPattern]:
        """The URLs, with the page that prunes."""
        view = self.admin_site.admin_view(self.prune_view)
        return [path("prune/", view, name=self._url_name), *super().get_urls()]

    @outside_transactions  # its actions ask the server
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """See `ModelAdmin`."""
        prune = self._prune_url() if self.has_delete_permission(request) else None
        return super().changelist_view(request, {"opencode_prune": prune, **(extra_context or {})})

    @admin.action(description=text_lazy("Reconcile the selected sessions"), permissions=["change"])
    def reconcile_sessions(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Apply changed titles and rules."""
        do_to_each(
            request,
            queryset,
            lambda each: session_for(each).reconcile(servers()),
            done=partial(
                counted,
                "{count} had changed, and are in force again.",
                "{count} had changed, and are in force again.",
            ),
            not_done=partial(
                counted,
                "{count} were in force, or have no session.",
                "{count} were in force, or have no session.",
            ),
        )

    @admin.action(description=text_lazy("Prune sessions that no row names…"), permissions=["delete"])
    def prune_sessions(self, _request: HttpRequest, _queryset: models.QuerySet[Any]) -> HttpResponse:
        """Go to the page that prunes; the selection does not matter."""
        return HttpResponseRedirect(self._prune_url())

    @outside_transactions  # it asks the server
    def prune_view(self, request: HttpRequest) -> HttpResponse:
        """List leftover sessions on the server, and delete the listed ones after a confirmation."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        shown = None
        try:
            pruner = self._pruner()
            pruner.check_may_delete()  # before listing, which would show the titles of other projects
            found = list(pruner.find(servers()))
            if request.method == "POST":
                self._delete(request, found)
                return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{self._list_name}"))
            shown = [(each, age_of(timezone.now() - each.updated)) for each in found]
        except OpencodeError as error:
            messages.error(request, text("It cannot be looked for now: {error}", error=error))
        context = {
            **self.admin_site.each_context(request),
            "title": text("Sessions that no row names any more"),
            "opts": self.opts,
            "found": shown,
            "grace": age_of(_GRACE),
        }
        return TemplateResponse(request, "opencode/admin/prune.html", context)

    def _delete(self, request: HttpRequest, found: list[Leftover]) -> None:
        """The leftovers that were listed and still exist."""
        shown = set(request.POST.getlist("session"))
        failures: list[str] = []

        def failed(error: Exception, context: ErrorContext) -> None:
            failures.append(f"{context.session_id}: {error}")

        remover = SessionDeleter(servers, failed)
        chosen = [each for each in found if each.session_id in shown]
        for each in chosen:
            remover(each.record or "no row", each.session_id, each.server)
        deleted = len(chosen) - len(failures)
        messages.success(request, counted("{count} session deleted.", "{count} sessions deleted.", deleted))
        for failure in failures:
            messages.error(request, failure)

    def _pruner(self) -> Pruner:
        indexes = [DjangoIndex(self.model, using=alias) for alias in databases_with_table(self.model)]
        return Pruner(*indexes, namespace=settings().namespace, grace=_GRACE, on_error=settings().on_error)

    def _links(self, said: Iterable[tuple[LastTurn, str]]) -> str:
        """A text for each turn, as a link to the page of its parts, if this site has one."""
        links = []
        for turn, words in said:
            registered = self.admin_site.is_registered(turn.model)
            shown = self.admin_site.get_model_admin(turn.model) if registered else None
            url = shown.parts_url(turn.pk) if isinstance(shown, TurnAdmin) else ""
            if words:
                links.append(format_html('<a href="{}">{}</a>', url, words) if url else words)
        return format_html_join(", ", "{}", ((link,) for link in links))

    def _messages(self) -> Iterator[tuple[type[models.Model], str]]:
        """The models of messages of these records, each with its field for the record."""
        for model in message_models():
            try:
                field = record_field(model)
            except ConfigurationError:
                continue  # a property of the model names its record
            if field.related_model is self.model:
                yield model, field.name

    @property
    def _url_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_prune"

    @property
    def _list_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_changelist"

    def _prune_url(self) -> str:
        return reverse(f"{self.admin_site.name}:{self._url_name}")
