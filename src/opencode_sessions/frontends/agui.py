"""`AguiEncoder`: a turn as events of AG-UI (protocol 1.0); see docs/agui.md.

A stream is a run. It begins with a snapshot of all messages of the chat, and adds to it. If a change cannot be
expressed by additions, there is another snapshot. A run ends when the turn waits for a person.

| in the turn | messages | events that add to them |
|---|---|---|
| a text, a thought | `assistant`, `reasoning` | `TEXT_MESSAGE_CHUNK`, `REASONING_MESSAGE_CHUNK` |
| a tool call, a sub-agent | `assistant` with a call, `tool` | `TOOL_CALL_…`; `CUSTOM` while it runs |
| todos, changed files, files, data, notices, the error | `activity` | `ACTIVITY_SNAPSHOT` |
| at the end, the files that the turn has made | `activity` | `ACTIVITY_SNAPSHOT` |
| status, revision, cost, tokens; asks | | `CUSTOM`; at the end of the run, usage and interrupts |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opencode_sessions.display import (
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
from opencode_sessions.live.view import RenderContext, TurnView, standing

__all__ = ["AGUI", "VERSION", "AguiEncoder", "messages_of"]

VERSION = "1.0"
"""The version of the protocol."""

Json = dict[str, Any]

_OVER = ("done", "failed", "refused")
_FIXED = (*_OVER, "asks")
"""A call that asks may lack some of its input, and a result can be sent only once."""

_UNTOLD = "waiting"
"""A call is sent once its input is known."""

_PERMISSION = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "always": {"type": "boolean"},
        "message": {"type": "string"},
    },
    "required": ["approved"],
}
_LABELS = {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}
_QUESTION = {"type": "object", "properties": {"answers": _LABELS}, "required": ["answers"]}


class AguiEncoder:
    """An `Encoder`."""

    content_type = sse.CONTENT_TYPE
    sends_growth = True

    def render(self, shown: Shown | ShownAsk | ShownError, context: RenderContext) -> str:
        """See `Renderer.render`: the messages of a snapshot."""
        if isinstance(shown, Text | Thought):
            return shown.markdown
        return ", ".join(map(sse.dumps, _messages(shown, context.turn)))

    def begin(self, context: RenderContext) -> bytes:
        """See `Encoder.begin`."""
        return _sent([_event("RUN_STARTED", **_run(context), protocolVersion=VERSION)])

    def news(self, news: News, context: RenderContext) -> bytes:
        """See `Encoder.news`."""
        whole = news.whole or not appends(news, lambda each: each.was not in _FIXED, untold=_UNTOLD)
        said = self._snapshot(news.view, context) if whole else b""
        return said + _sent(self._events(news, context.turn, whole=whole))

    def heartbeat(self) -> bytes:
        """See `Encoder.heartbeat`."""
        return sse.STILL_HERE

    def rests(self, view: TurnView) -> bool:
        """See `Encoder.rests`."""
        return waits(view)

    def again(self, context: RenderContext) -> bytes:
        """See `Encoder.again`. The run's result says so, because there is no event for it."""
        outcome = {"outcome": {"type": "success"}, "result": {"again": True}}
        return _sent([_event("RUN_FINISHED", **_run(context), **outcome)])

    def end(self, context: RenderContext, view: TurnView | None, status: str) -> bytes:
        """See `Encoder.end`."""
        bill = None if view is None else view.bill
        made = [_made_event(file) for file in context.made]
        usage = {} if bill is None else {"usage": [_usage(bill.input_tokens, bill.output_tokens)]}
        error = None if view is None or view.error is None else view.error.shown
        if status in ("failed", "gone"):
            code = error.name if error is not None else "Gone"
            return _sent([*made, _event("RUN_ERROR", message=why(error), code=code, **usage)])
        outcome: Json = {"type": "success"}
        result = {} if view is None else {"result": totals(view)}
        if status == "cancelled":
            outcome, result = {"type": "cancelled"}, {}
        elif status != "completed" and view is not None:
            calls = [part.shown.id for part in view.parts.values() if isinstance(part.shown, Tool)]
            interrupts = [_interrupt(ask.shown, calls) for ask in view.asks.values()]
            outcome, result = {"type": "interrupt", "interrupts": interrupts}, {}
        return _sent([*made, _event("RUN_FINISHED", **_run(context), outcome=outcome, **result, **usage)])

    def _snapshot(self, view: TurnView, context: RenderContext) -> bytes:
        owned = sse.dumps({"@ag-ui/client": {"authoritativeActivityTypes": None}})  # those left out are gone
        messages = ", ".join(filter(None, [context.history, *self._told(view)]))
        return sse.data(f'{{"type": "MESSAGES_SNAPSHOT", "metadata": {owned}, "messages": [{messages}]}}')

    def _told(self, view: TurnView) -> Iterator[str]:
        for part in view.parts.values():
            shown = part.shown
            yield sse.dumps(_text(shown)) if isinstance(shown, Text | Thought) else part.forms[self]
        if view.error is not None:
            yield view.error.forms[self]

    def _events(self, news: News, turn: str, *, whole: bool) -> Iterator[Json]:
        view = news.view
        if news.bill or news.status or whole:
            yield _custom("turn", totals(view))
        for each in news.parts if not whole else ():
            yield from _part(each)
        for part in view.parts.values() if whole else ():
            yield from _running(part.shown)
        if news.status and view.error is not None and not whole:
            yield _activity(view.error.shown, turn)
        if news.asks:
            yield _custom("asks", [plain(ask.shown) for ask in view.asks.values()])


AGUI = AguiEncoder()
"""The one of a process: what is rendered for it is kept by it."""


def messages_of(view: TurnView, made: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """What a turn, rendered for `AGUI`, says, as JSON of the messages that a client keeps.

    Args:
        view: The turn.
        made: The files that it has made, as `opencode_sessions.host.files.told` has them.
    """
    files = (sse.dumps(_as_message(_made_event(file))) for file in made)
    return [*AGUI._told(view), *files]  # noqa: SLF001 - of this module


def _messages(shown: Shown | ShownAsk | ShownError, turn: str) -> Iterator[Json]:
    match shown:
        case PermissionAsk() | QuestionAsk():
            return
        case Tool():
            if standing(shown) == _UNTOLD:
                return
            function = {"name": shown.tool, "arguments": sse.dumps(_given(shown))}
            call = {"id": shown.id, "type": "function", "function": function}
            yield {"id": shown.id, "role": "assistant", "toolCalls": [call]}
            if shown.state in _OVER:
                yield {
                    "id": f"{shown.id}-result",
                    "role": "tool",
                    "toolCallId": shown.id,
                    "content": _result(shown),
                }
        case _:
            yield _as_message(_activity(shown, turn))


def _text(shown: Text | Thought) -> Json:
    role = "assistant" if isinstance(shown, Text) else "reasoning"
    return {"id": shown.id, "role": role, "content": shown.markdown, **_about(shown)}


def _about(shown: Text | Thought) -> Json:
    told = facts_of(shown)
    return {"metadata": {"opencode": told}} if told and not shown.growing else {}


def _part(each: PartNews) -> Iterator[Json]:
    shown = each.part.shown
    match shown:
        case Text() | Thought():
            kind = "TEXT" if isinstance(shown, Text) else "REASONING"
            role = {"role": "assistant"} if isinstance(shown, Text) else {}
            rest = shown.markdown[each.known or 0 :]
            if rest or _about(shown):
                yield _event(f"{kind}_MESSAGE_CHUNK", messageId=shown.id, **role, delta=rest, **_about(shown))
        case Tool():
            if each.was in (None, _UNTOLD) and standing(shown) != _UNTOLD:
                yield _event("TOOL_CALL_START", toolCallId=shown.id, toolCallName=shown.tool)
                yield _event("TOOL_CALL_ARGS", toolCallId=shown.id, delta=sse.dumps(_given(shown)))
                yield _event("TOOL_CALL_END", toolCallId=shown.id)
            if shown.state in _OVER:
                named = {"messageId": f"{shown.id}-result", "toolCallId": shown.id, "role": "tool"}
                yield _event("TOOL_CALL_RESULT", **named, content=_result(shown))
            yield from _running(shown)
        case _:
            yield _activity(shown, "")


def _running(shown: Shown) -> Iterator[Json]:
    if isinstance(shown, Tool) and shown.state not in _OVER:
        yield _custom("tool", plain(shown))


def _given(tool: Tool) -> Json:
    return {"kind": tool.kind, "target": tool.target}


def _result(tool: Tool) -> str:
    told = plain(tool)
    return sse.dumps(
        {name: told[name] for name in ("state", "title", "error", "detail", "note", "duration", "files")}
    )


def _activity(shown: Shown | ShownError, turn: str) -> Json:
    kind, name = ("error", f"{turn}-error") if isinstance(shown, ShownError) else (shown.type, shown.id)
    named = {"messageId": name, "activityType": f"opencode.{kind}"}
    return _event("ACTIVITY_SNAPSHOT", **named, content=plain(shown))


def _made_event(file: Mapping[str, Any]) -> Json:
    """A file that the turn has made."""
    return _event("ACTIVITY_SNAPSHOT", messageId=file["id"], activityType="opencode.made", content=file)


def _as_message(told: Json) -> Json:
    """An activity as a client keeps it."""
    named = {"id": told["messageId"], "role": "activity"}
    return {**named, "activityType": told["activityType"], "content": told["content"]}


def _usage(given: int, taken: int) -> Json:
    return {"inputTokens": given, "outputTokens": taken}


def _interrupt(ask: ShownAsk, calls: Iterable[str]) -> Json:
    """The interrupt for an ask. Its id contains the digest of the shown ask, so that an answer names it."""
    call = {"toolCallId": ask.part} if ask.part in calls else {}
    permission = isinstance(ask, PermissionAsk)
    return {
        "id": f"{ask.id}:{ask.shown}",
        "reason": "input_required" if not permission else "tool_call" if call else "confirmation",
        "message": ask.title,
        **call,
        "responseSchema": _PERMISSION if permission else _QUESTION,
        "metadata": {"opencode": plain(ask)},
    }


def _run(context: RenderContext) -> Json:
    return {"threadId": context.thread, "runId": context.run or context.turn}


def _custom(name: str, value: Any) -> Json:
    return _event("CUSTOM", name=f"opencode.{name}", value=value)


def _event(kind: str, **said: Any) -> Json:
    return {"type": kind, **said}


def _sent(events: Iterable[Json]) -> bytes:
    return b"".join(sse.data(sse.dumps(event)) for event in events)
