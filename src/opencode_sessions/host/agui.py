"""`AGUI_CHAT`: the requests of AG-UI clients, a `RunAgentInput`; see docs/agui.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opencode_sessions.display import Given
from opencode_sessions.frontends import sse
from opencode_sessions.frontends.agui import AGUI, VERSION, messages_of
from opencode_sessions.host.chat_bodies import json_object, labels_of, message_id_of, text_of
from opencode_sessions.host.chats import ChatRequest, Json, Refusal
from opencode_sessions.host.sent_files import SentFile
from opencode_sessions.host.steering import Refused
from opencode_sessions.live.view import TurnView

__all__ = ["AGUI_CHAT", "AguiChat"]

_PROMPT = "-prompt"
_MEDIA = ("image", "audio", "video", "document")
_NO_LABELS = 'The payload must be like {"answers": [["Apple"], ["Red"]]}: labels for each question.'


class AguiChat:
    """A `ChatProtocol`."""

    encoder = AGUI
    headers: Mapping[str, str] = {}
    retells = True

    def read(self, body: bytes, headers: Mapping[str, str], chat: str | None) -> ChatRequest:  # noqa: ARG002 - the port's
        """See `ChatProtocol.read`."""
        said = json_object(body)
        version = said.get("protocolVersion", VERSION)
        if version != VERSION:
            raise Refused(400, f"There is no AG-UI {str(version)[:20]} here, only {VERSION}.")
        thread, run = chat or text_of(said.get("threadId"), "threadId"), text_of(said.get("runId"), "runId")
        wanted = ChatRequest(chat=thread, run=run, strict=True)
        if resume := said.get("resume"):
            return replace(wanted, answers=tuple(_answers(resume)))
        last = _last(said)
        if last.get("role") != "user":
            return wanted
        name = last.get("id")
        if isinstance(name, str) and name.endswith(_PROMPT):  # it is in its row already
            return replace(wanted, turn=name.removesuffix(_PROMPT))
        content = last.get("content")
        files = tuple(_files(content))
        return replace(wanted, prompt=_prompt(content), message_id=message_id_of(last), files=files)

    def refusal(self, refused: Refused) -> Refusal:
        """See `ChatProtocol.refusal`: a run that ends at once."""
        said = {"type": "RUN_ERROR", "message": str(refused), "code": str(refused.status)}
        return Refusal(200, sse.CONTENT_TYPE, sse.data(sse.dumps(said)))

    def told(
        self, name: str, prompt: str, view: TurnView, sent: Sequence[Json], made: Sequence[Json], /
    ) -> list[dict[str, Any]]:
        """See `ChatProtocol.told`."""
        answer = json.loads(f"[{', '.join(filter(None, messages_of(view, made)))}]")
        files = [_media(file) for file in sent if file["url"]]
        content = [{"type": "text", "text": prompt}, *files] if files else prompt
        return [{"id": f"{name}{_PROMPT}", "role": "user", "content": content}, *answer]


AGUI_CHAT = AguiChat()


def _last(said: Mapping[str, Any]) -> Mapping[str, Any]:
    messages = said.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise Refused(400, "The body must have `messages`, a list of objects.")
    return messages[-1] if messages else {}


def _prompt(content: Any) -> str:
    parts = [content] if isinstance(content, str) else content if isinstance(content, list) else []
    texts = [
        each if isinstance(each, str) else each.get("text")
        for each in parts
        if isinstance(each, str | dict) and not _is_media(each)
    ]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(400, "A prompt can only have text and files here.")
    return "\n\n".join(map(str, texts))


def _files(content: Any) -> Iterator[SentFile]:
    for part in filter(_is_media, content if isinstance(content, list) else ()):
        source, about = part.get("source"), part.get("metadata")
        source = source if isinstance(source, dict) else {}
        name, mime = about.get("filename") if isinstance(about, dict) else None, source.get("mimeType")
        if source.get("type") == "data":
            yield SentFile.of_base64(name, mime, source.get("value"))
        else:
            yield SentFile.of_url(name, mime, source.get("value"))


def _is_media(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in _MEDIA


def _media(file: Json) -> dict[str, Any]:
    """A file that was sent, as a client keeps it."""
    kind, mime = file["media_type"].partition("/")[0], file["media_type"]
    return {
        "type": kind if kind in _MEDIA else "document",
        "source": {"type": "url", "value": file["url"], "mimeType": mime},
        "metadata": {"filename": file["name"], "opencode": {"id": file["id"], "size": file["size"]}},
    }


def _answers(resume: Any) -> Iterator[Given]:
    if not isinstance(resume, list) or not all(isinstance(each, dict) for each in resume):
        raise Refused(400, "`resume` must be a list of objects.")
    for each in resume:
        ask, _, shown = text_of(each.get("interruptId"), "interruptId").partition(":")
        if each.get("status") == "cancelled":
            yield Given(ask, "reject", shown=shown)
            continue
        payload = each.get("payload")
        if not isinstance(payload, dict) or each.get("status") != "resolved":
            raise Refused(
                400, "An entry of `resume` needs a status, and a payload as the interrupt's schema says."
            )
        yield _answer(ask, shown, payload)


def _answer(ask: str, shown: str, payload: Mapping[str, Any]) -> Given:
    message, labels = payload.get("message"), payload.get("answers")
    if isinstance(labels, list):
        return Given(ask, "once", labels_of(labels, _NO_LABELS), shown=shown)
    if not isinstance(payload.get("approved"), bool):
        raise Refused(400, 'The payload must be like {"approved": true}.')
    if payload["approved"]:
        return Given(ask, "always" if payload.get("always") is True else "once", shown=shown)
    return Given(
        ask, "reject", message=message if isinstance(message, str) and message else None, shown=shown
    )
