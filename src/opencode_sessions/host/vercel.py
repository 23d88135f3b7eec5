"""`VERCEL_CHAT`: the requests of `useChat` of the Vercel AI SDK; see docs/vercel.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opencode_sessions.display import Given
from opencode_sessions.frontends.vercel import HEADERS, QUESTION, VERCEL
from opencode_sessions.frontends.vercel_messages import ui_messages
from opencode_sessions.host.chat_bodies import json_object, labels_of, message_id_of, text_of
from opencode_sessions.host.chats import ChatRequest, Json, Refusal
from opencode_sessions.host.sent_files import SentFile
from opencode_sessions.host.steering import Refused
from opencode_sessions.live.view import TurnView
from opencode_sessions.texts import text

__all__ = ["VERCEL_CHAT", "VercelChat"]

_VERSION, _KNOWN = next(iter(HEADERS.items()))
_NO_LABELS = 'The output of a question must be a list of labels for each question: [["Apple"], ["Red"]].'


class VercelChat:
    """A `ChatProtocol`."""

    encoder = VERCEL
    headers: Mapping[str, str] = HEADERS
    retells = False

    def read(self, body: bytes, headers: Mapping[str, str], chat: str | None) -> ChatRequest:
        """See `ChatProtocol.read`."""
        version = headers.get(_VERSION, _KNOWN)
        if version != _KNOWN:
            raise Refused(400, f"There is no UI message stream {version[:20]} here, only {_KNOWN}.")
        said = json_object(body)
        named, last, message_id = chat or text_of(said.get("id"), "id"), _last(said), said.get("messageId")
        if said.get("trigger") == "regenerate-message":
            return ChatRequest(chat=named, retry=True)
        if last.get("role") == "user":
            if message_id is not None:
                raise Refused(409, text("A message that was sent cannot be changed. Send a new one."))
            return ChatRequest(
                chat=named,
                prompt=_prompt(last),
                message_id=message_id_of(last),
                files=tuple(_files(last)),
            )
        answers = tuple(_answers(last))
        if not answers:
            raise Refused(
                400, "The last message says nothing new: it must ask something, or answer what is asked."
            )
        return ChatRequest(
            chat=named, answers=answers, turn=text_of(last.get("id"), "id of the last message")
        )

    def refusal(self, refused: Refused) -> Refusal:
        """See `ChatProtocol.refusal`. The SDK uses the text of a response that is not OK as its error's message."""
        return Refusal(refused.status, "text/plain; charset=utf-8", str(refused).encode())

    def told(
        self, name: str, prompt: str, view: TurnView, sent: Sequence[Json], made: Sequence[Json], /
    ) -> list[dict[str, Any]]:
        """See `ChatProtocol.told`."""
        return ui_messages(name, prompt, view, sent, made)


VERCEL_CHAT = VercelChat()


def _last(said: Mapping[str, Any]) -> Mapping[str, Any]:
    messages = said.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") not in ("user", "assistant"):
        raise Refused(
            400, "The body must have `messages`, and the last one must be the user's or the assistant's."
        )
    return last


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = message.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _prompt(message: Mapping[str, Any]) -> str:
    others = sorted({str(part.get("type")) for part in _parts(message)} - {"text", "file"})
    if others:
        raise Refused(400, f"A prompt can only have text and files here, and no {', '.join(others)[:100]}.")
    return "\n\n".join(part["text"] for part in _parts(message) if isinstance(part.get("text"), str))


def _files(message: Mapping[str, Any]) -> Iterator[SentFile]:
    for part in _parts(message):
        if part.get("type") == "file":
            yield SentFile.of_url(part.get("filename"), part.get("mediaType"), part.get("url"))


def _answers(message: Mapping[str, Any]) -> Iterator[Given]:
    for part in _parts(message):
        state, approval, asked = part.get("state"), _object(part, "approval"), _object(part, "input")
        if state == "approval-responded" and isinstance(approval.get("approved"), bool):
            reason = approval.get("reason")
            yield Given(
                text_of(approval.get("id"), "approval.id"),
                "once" if approval["approved"] else "reject",
                message=reason if isinstance(reason, str) and not approval["approved"] else None,
                shown=_shown(_object(approval, "descriptor"), "approval.descriptor"),
            )
        elif part.get("toolName") == QUESTION and not part.get("providerExecuted"):
            if state == "output-available":
                labels = labels_of(part.get("output"), _NO_LABELS)
                yield Given(
                    text_of(asked.get("id"), "input.id"), "once", labels, shown=_shown(asked, "input")
                )
            elif state == "output-error":
                said = part.get("errorText")
                word = said if isinstance(said, str) and said else None
                yield Given(text_of(asked.get("id"), "input.id"), "reject", message=word)


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _shown(asked: Mapping[str, Any], where: str) -> str:
    """The digest of the ask that was shown, which the front end keeps with the part."""
    return text_of(asked.get("shown"), f"{where}.shown")
