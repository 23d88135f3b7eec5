"""`VercelEncoder`: a turn as a UI message stream (v1) of the Vercel AI SDK; see docs/vercel.md.

A stream sends a turn from its beginning, and adds to it. Chunks can only be taken back all at once: `reset-step`
empties the message, and the whole turn is sent again. A stream ends when the turn waits for a person.

| in the turn | chunks |
|---|---|
| a text, a thought | `text-…`, `reasoning-…` |
| a tool call, a sub-agent | `tool-input-…`, then `tool-output-…`: preliminary while it runs |
| a permission ask | `tool-approval-request` |
| a question | a tool call without an output, which the browser adds |
| a picture or a file with an address; at the end, the files that the turn has made | `file` |
| status, revision, cost, tokens | `message-metadata` |
| anything else | `data-…` |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opencode_sessions.display import (
    File,
    Notice,
    PermissionAsk,
    QuestionAsk,
    Shown,
    ShownAsk,
    ShownError,
    Text,
    Thought,
    Tool,
)
from opencode_sessions.frontends import sse
from opencode_sessions.frontends.display_json import plain
from opencode_sessions.frontends.growing import appends, facts_of, totals, waits, why
from opencode_sessions.live.news import News, PartNews
from opencode_sessions.live.view import RenderContext, TurnView
from opencode_sessions.texts import text

__all__ = ["HEADERS", "QUESTION", "VERCEL", "VercelEncoder", "made_chunk"]

HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}
"""The headers of each such stream."""

QUESTION = "question"
"""The tool whose output a browser adds."""

Chunk = dict[str, Any]

_KINDS = {Text: "text", Thought: "reasoning"}
_DONE = sse.data("[DONE]")


class VercelEncoder:
    """An `Encoder`."""

    content_type = sse.CONTENT_TYPE
    sends_growth = True

    def render(self, shown: Shown | ShownAsk | ShownError, context: RenderContext) -> str:  # noqa: ARG002 - the port's
        """See `Renderer.render`."""
        match shown:
            case Text() | Thought():
                return shown.markdown
            case Tool():
                return _lines(_tool(shown))
            case PermissionAsk() | QuestionAsk():
                return ""  # its place depends on the parts
            case File(url=url) if url:
                about = {"opencode": {"id": shown.id, "name": shown.name, "size": shown.size}}
                return _lines([_chunk("file", url=url, mediaType=shown.mime, providerMetadata=about)])
            case ShownError():
                return _lines([_chunk("data-error", id="error", data=plain(shown))])
            case _:
                return _lines([_chunk(f"data-{shown.type}", id=shown.id, data=plain(shown))])

    def begin(self, context: RenderContext) -> bytes:
        """See `Encoder.begin`."""
        return _sent(_lines([_chunk("start", messageId=context.turn)]))

    def news(self, news: News, context: RenderContext) -> bytes:  # noqa: ARG002 - likewise
        """See `Encoder.news`."""
        if news.whole or news.asks or not appends(news, lambda each: not isinstance(each.part.shown, File)):
            return _sent(_lines([_chunk("reset-step")]) + self._all(news.view))
        said = "".join(self._part(each) for each in news.parts)
        said += self._error(news.view) if news.status else ""
        return _sent(said + (_metadata(news.view) if news.bill or news.status else ""))

    def heartbeat(self) -> bytes:
        """See `Encoder.heartbeat`."""
        return sse.STILL_HERE

    def rests(self, view: TurnView) -> bool:
        """See `Encoder.rests`. It ends when the whole unfinished part waits for a person."""
        return waits(view)

    def again(self, context: RenderContext) -> bytes:  # noqa: ARG002 - likewise
        """See `Encoder.again`. The message's metadata say so, because there is no chunk for it."""
        return _sent(_lines([_chunk("message-metadata", messageMetadata={"again": True})])) + _DONE

    def end(self, context: RenderContext, view: TurnView | None, status: str) -> bytes:
        """See `Encoder.end`."""
        error = None if view is None or view.error is None else view.error.shown
        chunks = [*map(made_chunk, context.made), _chunk("finish", finishReason=_reason(view, status, error))]
        if status == "cancelled":
            chunks.insert(0, _chunk("abort", reason=error.title if error is not None else text("Stopped")))
        elif status in ("failed", "gone"):
            chunks.append(_chunk("error", errorText=why(error)))
        return _sent(_lines(chunks)) + _DONE

    def _all(self, view: TurnView) -> str:
        said, left = [_metadata(view)], [ask.shown for ask in view.asks.values()]
        for part in view.parts.values():
            shown = part.shown
            asks = [ask for ask in left if ask.part == shown.id and _fits(ask, shown)]
            if not asks or isinstance(asks[0], PermissionAsk):
                said.append(self._part(PartNews(part, None, None, None)))
            # A call has one approval at a time; the other asks of the call come after the first.
            said += [_lines([_asked(ask, shown.id)]) for ask in asks[:1]]
            left = [ask for ask in left if ask not in asks]
        said += [_lines([*_call_of(ask), _asked(ask, ask.id)]) for ask in left]
        return "".join([*said, self._error(view)])

    def _part(self, news: PartNews) -> str:
        shown = news.part.shown
        if not isinstance(shown, Text | Thought):
            form: str = news.part.forms[self]
            return form
        kind, chunks = _KINDS[type(shown)], []
        if news.was is None:
            chunks.append(_chunk(f"{kind}-start", id=shown.id))
        if rest := shown.markdown[news.known or 0 :]:
            chunks.append(_chunk(f"{kind}-delta", id=shown.id, delta=rest))
        if not shown.growing:
            told = facts_of(shown)
            said = {"providerMetadata": {"opencode": told}} if told else {}
            chunks.append(_chunk(f"{kind}-end", id=shown.id, **said))
        return _lines(chunks)

    def _error(self, view: TurnView) -> str:
        return "" if view.error is None else view.error.forms[self]


VERCEL = VercelEncoder()
"""The one of a process: what is rendered for it is kept by it."""


def made_chunk(file: Mapping[str, Any]) -> Chunk:
    """A file that the turn has made: with an address, or as data that say why it has none."""
    if not file["url"]:
        return _chunk("data-made", id=file["id"], data=file)
    about = {name: file[name] for name in ("id", "name", "path", "kind", "size")}
    return _chunk("file", url=file["url"], mediaType=file["media_type"], providerMetadata={"opencode": about})


def _tool(tool: Tool) -> Iterator[Chunk]:
    call = {"toolCallId": tool.id}
    about = {"toolName": tool.tool, "dynamic": True, "providerExecuted": True, "title": tool.title}
    if tool.state == "waiting" and not tool.asks:
        yield _chunk("tool-input-start", **call, **about)
        return
    given = {"kind": tool.kind, "verb": tool.verb, "target": tool.target, "icon": tool.icon}
    yield _chunk("tool-input-available", **call, **about, input=given)
    told = plain(tool)
    output = {name: told[name] for name in ("detail", "note", "duration", "files")}
    match tool.state:
        case "done":
            yield _chunk("tool-output-available", **call, output=output)
        case "failed":
            yield _chunk("tool-output-error", **call, errorText=tool.error or tool.title)
        case "refused":
            yield _chunk("tool-approval-request", **call, approvalId=tool.id)
            yield _chunk("tool-approval-response", approvalId=tool.id, approved=False, reason=tool.error)
            yield _chunk("tool-output-denied", **call)
        case _ if tool.detail is not None and not tool.asks:
            yield _chunk("tool-output-available", **call, output=output, preliminary=True)
    if tool.state in ("failed", "refused") and (tool.detail is not None or tool.files):
        yield _chunk("data-tool", id=tool.id, data=told)  # such a call has no output


def _fits(ask: ShownAsk, shown: Shown) -> bool:
    """Is the ask answered at this call? A question of a sub-agent needs a call of its own."""
    return isinstance(shown, Tool) and (isinstance(ask, PermissionAsk) or shown.tool == QUESTION)


def _call_of(ask: ShownAsk) -> Iterator[Chunk]:
    """A call for a permission ask that belongs to no shown call."""
    if isinstance(ask, PermissionAsk):
        about = {"toolName": ask.permission, "dynamic": True, "providerExecuted": True, "title": ask.title}
        yield _chunk("tool-input-available", toolCallId=ask.id, **about, input={})


def _asked(ask: ShownAsk, call: str) -> Chunk:
    told = plain(ask)
    if isinstance(ask, PermissionAsk):
        said = {"approvalId": ask.id, "approvalDescriptor": told, "reason": ask.title}
        return _chunk("tool-approval-request", toolCallId=call, **said)
    about = {"toolName": QUESTION, "dynamic": True, "providerExecuted": False, "title": ask.title}
    return _chunk("tool-input-available", toolCallId=call, **about, input=told)


def _metadata(view: TurnView) -> str:
    return _lines([_chunk("message-metadata", messageMetadata=totals(view))])


def _reason(view: TurnView | None, status: str, error: ShownError | None) -> str:
    match status:
        case "cancelled":
            return "interrupted"  # the SDK then does not go on by itself
        case "failed" | "gone":
            return "content-filter" if error is not None and error.name == "ContentFilterError" else "error"
        case "completed":
            shown = [part.shown for part in view.parts.values()] if view is not None else []
            stopped = next(
                (part.reason for part in shown if isinstance(part, Notice) and part.reason), "stop"
            )
            return stopped if stopped in ("stop", "length", "content-filter") else "other"
        case _:
            return "tool-calls"


def _chunk(kind: str, **said: Any) -> Chunk:
    return {"type": kind, **said}


def _lines(chunks: Iterable[Chunk]) -> str:
    return "".join(f"data: {sse.dumps(chunk)}\n\n" for chunk in chunks)


def _sent(lines: str) -> bytes:
    return lines.encode(errors="backslashreplace")
