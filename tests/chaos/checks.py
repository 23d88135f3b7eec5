"""What must hold when all is over: of the rows, of what the server holds, and of what the model was asked."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session as Database

from chaos import prompts
from chaos.host import Conversation, Message
from opencode_sessions.files.ports import FileKind
from opencode_sessions.protocol.reply import Reply
from opencode_sessions.protocol.storable import storable
from opencode_sessions.runtime.stepping import iterate_sync, run_sync
from opencode_sessions.store.claims import other_holder

EXPLAINED = {"Overtaken", "Stopped"}
"""Failures that a death, or a person, explains."""


@dataclass(frozen=True)
class Violation:
    """A promise that was broken; `message` is the key of the row that it is about, if it is about one."""

    what: str
    message: tuple | None = None
    exhibits: dict = field(default_factory=dict, compare=False)


class Upstream:
    """All that the servers hold, read once, past the proxy.

    Args:
        clients: By the servers' names.

    Attributes:
        sessions: By their ids.
        servers: The names of theirs, by their ids.
    """

    def __init__(self, clients):
        self._clients = clients
        self.sessions, self.servers = {}, {}
        for name, client in clients.items():
            for info in client.list(all_directories=True, page_size=1000):
                self._add(name, client, info)
        self._messages = {}

    def _add(self, name, client, info):
        self.sessions[info.id], self.servers[info.id] = info, name
        for child in client.children(info.id):
            self._add(name, client, child)

    def roots(self):
        return [info for info in self.sessions.values() if info.parent_id is None]

    def family(self, session_id):
        """A session and those of its sub-agents."""
        yield session_id
        for info in self.sessions.values():
            if info.parent_id == session_id:
                yield from self.family(info.id)

    def messages(self, session_id):
        """Oldest first."""
        if session_id not in self._messages:
            client = self._clients[self.servers[session_id]]
            self._messages[session_id] = list(client.messages(session_id))[::-1]
        return self._messages[session_id]

    def exchange(self, row):
        """The assistant's messages that answer the row's prompt."""
        return [
            message
            for message in self.messages(row.opencode_prompt_session_id)
            if message.info.parent_id == row.opencode_prompt_id
        ]


def check(stage, keys, outcome):
    """All violations of a round."""
    for client in stage.clients.values():
        yield from _idle(client)
    upstream = Upstream(stage.clients)
    rows, records = _stored(stage.engines, keys.values())
    yield from _sessions(upstream, stage.engines, records, stage.lease)
    said = _said(upstream, records.values())
    for asked, key in keys.items():
        row = rows[key]
        notes = [note for note in outcome.notes if note.get("message") == "{}:{}".format(*key)]
        deaths = stage.deaths[upstream.servers.get(row.opencode_prompt_session_id, next(iter(stage.deaths)))]
        what = [
            *_ended(row),
            *_prompted(asked, row, said),
            *_answered(row, upstream),
            *_cancelled(asked, row, notes),
            *_shown(row, notes),
            *_model_calls(asked, stage, deaths),
            *_ran(asked, row, stage, deaths),
            *(_files(row, key, stage) if stage.artifacts else ()),
        ]
        stored = upstream.exchange(row) if row.opencode_prompt_id is not None else []
        for sentence in what:
            yield Violation(f"{asked.tag}: {sentence}", key, {"row": row, "stored": stored})


def _idle(client):
    """The agents have a moment to stop; then nothing is busy, and nothing waits for anybody."""
    deadline = time.monotonic() + 20
    while (busy := client.status()) and time.monotonic() < deadline:
        time.sleep(0.2)
    for session_id in busy:
        yield Violation(f"session {session_id} is busy still")
    for ask in [*client.pending_permissions(), *client.pending_questions()]:
        yield Violation(f"session {ask.session_id} waits for an answer still: {ask}")


def _stored(engines, keys):
    """The messages by their keys, and their records."""
    rows, records = {}, {}
    for kind, key in keys:
        with Database(engines[kind]) as database:
            rows[kind, key] = message = database.get_one(Message, key)
            records[kind, message.conversation_id] = database.get_one(Conversation, message.conversation_id)
    return rows, records


def _sessions(upstream, engines, records, lease):
    """One session a record, no orphan, and no claim that holds."""
    named = set()
    for engine in engines.values():
        with Database(engine) as database:
            named.update(database.scalars(select(Conversation.opencode_session_id)))
    for info in upstream.roots():
        if info.id not in named:
            yield Violation(f"no row names session {info.id} ({dict(info.metadata)}, {info.title!r})")
    made = Counter((info.metadata.get("namespace"), info.metadata.get("record")) for info in upstream.roots())
    for (kind, _), record in records.items():
        key = f"conversations:{record.id}"
        if made[kind, key] > 1:
            yield Violation(f"{kind} {key} has {made[kind, key]} sessions")
        if record.opencode_session_id is not None and record.opencode_session_id not in upstream.sessions:
            yield Violation(f"{kind} {key} names {record.opencode_session_id}, which is not there")
        elif record.opencode_server not in (None, upstream.servers.get(record.opencode_session_id)):
            yield Violation(
                f"{kind} {key} names server {record.opencode_server}, and another one has its session"
            )
        # What a runner left that died between its turn's end and its release runs out with its lease.
        holder = other_holder(record.opencode_turn, "", time.time() + lease)
        if holder is not None:
            yield Violation(f"{kind} {key} is claimed by {holder} still: {record.opencode_turn}")


def _said(upstream, records):
    """Where each tag was said by a user: session and message; under None, all that users said, even without text."""
    said = defaultdict(list)
    for record in records:
        if record.opencode_session_id in upstream.sessions:
            for session_id in upstream.family(record.opencode_session_id):
                for message in upstream.messages(session_id):
                    if message.info.role == "user":
                        texts = [part["text"] for part in message.parts if part.get("type") == "text"]
                        for tag in {None, *map(prompts.tag_of, texts)}:
                            said[tag].append((session_id, message.info.id))
    return said


def _ended(row):
    if row.status not in ("completed", "cancelled", "failed"):
        yield f"it is {row.status}"
    if row.opencode_turn_lease is not None:
        yield f"its lease is {row.opencode_turn_lease}"
    if row.asks:
        yield f"it asks still: {row.asks}"
    if row.status == "failed" and row.error["name"] not in EXPLAINED:
        yield f"it failed, and nothing explains it: {row.error}"
    if row.status == "failed" and row.error["name"] == "Stopped" and row.person == "says yes":
        yield f"it stopped, and nobody refused it anything: {row.error}"
    if row.status == "completed" and row.error is not None:
        yield f"it completed with an error: {row.error}"


def _prompted(asked, row, said):
    here = (row.opencode_prompt_session_id, row.opencode_prompt_id)
    found = said[asked.tag]
    if len(found) > 1:
        yield f"its prompt was said {len(found)} times: {found}"
    if found and here not in found:
        yield f"its prompt is in {found}, and the row says {here}"
    if not found and row.status == "completed":
        yield "its prompt is not there"
    if not found and row.status == "failed" and here not in said[None]:
        yield "its prompt is not there, not even without its text, as a server leaves it that dies over it"


def _answered(row, upstream):
    if row.opencode_prompt_session_id not in upstream.sessions or row.status == "cancelled":
        return  # what a cancelled turn had said by then is kept as it was known
    ids = (row.opencode_prompt_session_id, row.opencode_prompt_id)
    reply = Reply.of(*ids, upstream.messages(ids[0]))
    if row.status == "completed" and not reply.final:
        yield "it completed, and what the server has is not final"
    if row.status == "completed" and row.content != storable(reply.text):
        yield f"its content is {row.content!r}, and the server has {reply.text!r}"
    yield from _different_parts(row, storable(reply.to_json()), final=reply.final)
    bill, here = (reply.cost, reply.tokens.input), (row.cost, row.input_tokens)
    if here != bill:
        yield f"its bill is {here}, and the server's {bill}"


def _different_parts(row, stored, *, final):
    """Only events tell the progress of sub-agents, and the words of what was broken off: they are the row's own."""
    here = [{name: value for name, value in part.items() if name != "progress"} for part in row.parts]
    if [part["id"] for part in here] != [part["id"] for part in stored]:
        yield f"its parts are {[part['id'] for part in here]}, and the server has {[part['id'] for part in stored]}"
        return
    for ours, theirs in zip(here, stored, strict=True):
        if not final and "text" not in theirs:
            ours.pop("text", None)
        if ours != theirs:
            yield f"its part is {ours}, and the server has {theirs}"


def _cancelled(asked, row, notes):
    said = {note["what"] for note in notes}
    if "cancelled" in said and row.status != "cancelled":
        yield f"it was cancelled, and is {row.status}"
    if row.status == "cancelled" and row.error["by"] != "the clerk":
        yield f"it was cancelled by {row.error['by']}, and nobody wanted that"
    if row.status == "cancelled" and asked.cancel is None:
        yield "it was cancelled, and nobody wanted that"
    ends = {note["status"] for note in notes if note["what"] == "finished"}
    if len(ends) > 1:
        yield f"it ended more than once: {ends}"


def _shown(row, notes):
    """Whoever watches a turn learns how it ended, and is shown all of a whole answer."""
    for note in notes:
        if note["what"] != "watched":
            continue
        if note["status"] != row.status:
            yield f"{note['who']} showed that it is {note['status']}, and it is {row.status}"
        elif row.status == "completed" and note["text"].split() != row.content.split():
            yield f"{note['who']} showed {note['text']!r}, and its content is {row.content!r}"


def _model_calls(asked, stage, deaths):
    """Between two equal calls the server died: nothing else makes it ask the model again."""
    calls = defaultdict(list)
    for at, place, tag in list(stage.asked):
        if tag == asked.tag:
            calls[place].append(at)
    for place, moments in calls.items():
        for first, second in pairwise(moments):
            if not any(first <= until and died <= second for died, until in deaths):
                yield (
                    f"the model was asked the same twice, {second - first:.2f} s apart, after {place[-1]} results, "
                    "and no server died"
                )


def _ran(asked, row, stage, deaths):
    ran = stage.ran()
    for part in row.parts:
        command = (part.get("input") or {}).get("command") if part.get("tool") == "bash" else None
        if command and part.get("status") == "completed" and not ran[command.split()[3]]:
            yield f"its command completed, and never ran: {command}"
    for tag, times in ran.items():
        if tag.startswith(f"{asked.tag}.") and times > 1 + len(deaths):
            yield f"{tag} ran {times} times"


def _files(row, key, stage):
    """Each file that a completed turn made is attached once, or its absence is told; and no other one is."""
    store, message = stage.artifacts[key[0]].store, f"messages:{row.id}"
    if run_sync(store.find_due(message)) is not None:
        yield "its files are due still"
    found = run_sync(store.list(message))
    paths, named = Counter(each.path for each in found), prompts.files(row.prompt)
    reported = any(each.path == "" for each in found)
    made = _made(row)
    for each in found:
        if paths[each.path] > 1:
            yield f"{each.path} is attached {paths[each.path]} times"
        if each.record != f"conversations:{row.conversation_id}":
            yield f"{each.path} is of {each.record}"
        if each.kind is FileKind.SKIPPED:
            continue
        if each.kind is FileKind.DELETED or each.path not in named:
            yield f"{each.path} is {each.kind}, and its turn did not do that"
            continue
        content = b"".join(iterate_sync(store.open(each.id)))
        if hashlib.sha256(content).hexdigest() != each.sha256:
            yield f"{each.path} has other bytes than its row says"
        # What a death broke off may be there in part.
        if content != named[each.path] if each.path in made else not named[each.path].startswith(content):
            yield f"{each.path} is {content[:50]!r}, and is to be {named[each.path][:50]!r}"
    if row.status == "completed" and not reported:
        yield from (f"{path} is neither attached nor reported" for path in made if path not in paths)


def _made(row):
    """The files that its answer says were made, from its folder on."""
    done = [part for part in row.parts if part.get("status") == "completed"]
    given = [part.get("input") or {} for part in done if part.get("tool") in ("write", "bash")]
    paths = [each.get("filePath") or each.get("command", "").split()[-1] for each in given]
    return {path.rpartition("/")[2] for path in paths}
