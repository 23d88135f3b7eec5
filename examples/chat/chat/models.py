"""Conversations and their messages: two models of the library's, and what a chat needs beside its columns."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery, Sum
from django.db.models.fields.json import KT
from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.translation import gettext

from chat.sandbox import SANDBOX
from opencode_sessions.django import TurnQuerySet
from opencode_sessions.django.models import MessageModel, RecordModel

__all__ = ["Conversation", "Message"]

UNFINISHED = Q(status__in=["pending", "streaming"])
TITLE_LENGTH = 80
SHORT_TITLE = 60


class Conversations(models.QuerySet["Conversation"]):
    """What is asked of conversations."""

    def of(self, owner: Any) -> Self:
        """Those of a user."""
        return self.filter(owner=owner)

    def with_state(self) -> Self:
        """With `runs`, `asks`, and of the newest message its key (`newest`), how it `ended`, and its `error`'s name."""
        messages = Message.objects.filter(conversation=OuterRef("pk"))
        newest = messages.order_by("-pk")
        return self.annotate(
            runs=Exists(messages.filter(UNFINISHED)),
            asks=Exists(messages.filter(status="streaming").exclude(asks=[])),
            ended=Subquery(newest.values("status")[:1]),
            error=Subquery(newest.values_list(KT("error__name"))[:1]),
            newest=Subquery(newest.values("pk")[:1]),
        )


class Conversation(RecordModel):
    """One conversation of one user's, and one session of the agent's."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    title = models.CharField(max_length=TITLE_LENGTH)
    branched_from = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="branches"
    )
    touched_at = models.DateTimeField(default=timezone.now)

    objects = Conversations.as_manager()

    class Meta:
        ordering = ("-touched_at", "-pk")
        indexes = (models.Index(fields=["owner", "-touched_at"]),)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("conversation", args=[self.pk])

    @property
    def opencode_directory(self) -> str | None:
        """Where its agent works; None: where the settings say."""
        return SANDBOX.directory(self) if SANDBOX else None

    def bill(self) -> dict[str, Any]:
        """`cost` in US dollars and `tokens`, of all its messages."""
        return self.messages.aggregate(
            cost=Sum("cost", default=0.0),
            tokens=Sum("input_tokens", default=0) + Sum("output_tokens", default=0),
        )

    @staticmethod
    def title_for(prompt: str) -> str:
        """A title for what begins with this: its first sentence, cut between words."""
        line = next(
            (line.strip() for line in prompt.splitlines() if line.strip()), gettext("New conversation")
        )
        sentence = re.split(r"(?<=[^.?!…]{12}[.?!…])\s", line, maxsplit=1)[0].removesuffix(".")
        if len(sentence) <= SHORT_TITLE:
            return sentence
        cut = sentence[:SHORT_TITLE]
        return (cut.rpartition(" ")[0] or cut).rstrip(",;:-") + "…"


class Message(MessageModel):
    """One prompt and its answer.

    Attributes:
        key: Made by the form that sent it: sent twice, it is stored once.
        retry_of: The message whose prompt this one sends once more.
    """

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    key = models.UUIDField(unique=True, null=True, blank=True, editable=False)
    retry_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="retries"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TurnQuerySet.as_manager()

    class Meta(MessageModel.Meta):
        ordering = ("pk",)

    def __str__(self) -> str:
        return Truncator(self.prompt).words(8)

    @property
    def is_over(self) -> bool:
        """Has its turn ended?"""
        return self.status not in ("pending", "streaming")

    @property
    def took(self) -> timedelta | None:
        """How long the turn ran."""
        return self.finished_at - self.started_at if self.started_at and self.finished_at else None

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.input_tokens + self.output_tokens
