"""What the presets allow, on the real server, of everything that an agent may try: itself, and through sub-agents."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import groupby
from operator import itemgetter

import pytest
from fix_server import LEAN
from selection import sample

from opencode_sessions import (
    ASK_FIRST,
    READ_ONLY,
    READ_WRITE,
    TRUSTED,
    Answer,
    Client,
    OpencodeServer,
    ServerStartError,
    Session,
    Turn,
    allow,
    ask,
    deny,
    permission_config,
)
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.testing import Call, Rule, Script, ScriptedModel, Step

DOTENV = (".env", ".env.local", "prod.env.bak", "deep/.envrc", "deep/../.env", "link-to-dotenv")
OUTSIDE = (
    "{outside}/a.txt",
    "../{outside.name}/a.txt",
    "deep/../../{outside.name}/a.txt",
    "link/a.txt",
    "link-to-file",
)
NEW_OUTSIDE = (
    "{outside}/new.txt",
    "../{outside.name}/new.txt",
    "link/new.txt",
    "link-to-nothing",
)
CONFIGURES = (
    ".opencode/plugin/x.js",
    "deep/../.opencode/tool/x.js",
    "link-to-opencode/x.js",
    "opencode.json",
    "opencode.jsonc",
)
GIT = (".git", ".git/config", "deep/.git/hooks/post-checkout")

READS_IN, READS_DOTENV, READS_OUTSIDE, LISTS_OUTSIDE = (
    "read in",
    "read dotenv",
    "read outside",
    "list outside",
)
SEARCHES, WRITES_IN, WRITES_OUTSIDE, CONFIGURES_IT = "search", "write in", "write outside", "configure"
RUNS, FETCHES, DELEGATES, NOTES = "run", "fetch", "delegate", "note"


class Place:
    """A folder for an agent, in a folder that has secrets beside it."""

    def __init__(self, base):
        self.folder = base / "work"
        self.outside = base / "outside"
        for path in (self.folder / "deep", self.folder / ".opencode", self.outside / "sub"):
            path.mkdir(parents=True)
        (self.outside / "a.txt").write_text("secret")
        (self.folder / "a.txt").write_text("public")
        for name in DOTENV[:4]:
            (self.folder / name).write_text("KEY=secret")
        for name, target in {
            "link-to-dotenv": ".env",
            "link": self.outside,
            "into": self.outside / "sub",
            "link-to-file": self.outside / "a.txt",
            "link-to-nothing": self.outside / "new.txt",
            "link-to-opencode": ".opencode",
        }.items():
            (self.folder / name).symlink_to(target)

    def calls(self):
        """Every attempt: what it would do, and the call."""

        def file(tool, names, **more):
            for name in names:
                path = str(self.folder / name.format(outside=self.outside))
                yield Call(tool, {"filePath": path, **more})

        text = {"content": "written"}
        attempts = {
            READS_IN: file("read", ["a.txt", "deep/../a.txt"]),
            READS_DOTENV: file("read", DOTENV),
            READS_OUTSIDE: file("read", [*OUTSIDE, "/proc/self/environ", "/etc/passwd"]),
            LISTS_OUTSIDE: (
                Call("glob", {"pattern": "*", "path": str(path)})
                for path in (self.outside, self.folder / "link")
            ),
            SEARCHES: [Call("grep", {"pattern": "KEY"})],
            WRITES_IN: file("write", ["deep/new.txt"], **text),
            WRITES_OUTSIDE: file("write", NEW_OUTSIDE, **text),
            CONFIGURES_IT: file("write", [*CONFIGURES, *GIT, ".env.new"], **text),
            RUNS: [Call("bash", {"command": f"cat {self.folder}/.env", "description": "d"})],
            FETCHES: [Call("webfetch", {"url": "http://127.0.0.1:9/", "format": "text"})],
            DELEGATES: [Call("task", {"description": "d", "prompt": "Say hi.", "subagent_type": "general"})],
            NOTES: [Call("todowrite", {"todos": [{"content": "a", "status": "pending", "priority": "low"}]})],
        }
        return [(what, call) for what, calls in attempts.items() for call in calls]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def model():
    with ScriptedModel() as model:
        yield model


@pytest.fixture(scope="module")
def guarded(model):
    """A server with one more model, `gpt-5`: by its name the server gives it `apply_patch` instead of other tools."""
    config = {**model.config(), **DELEGATING, "permission": LOOPING}
    models = config["provider"]["scripted"]["models"]
    models["gpt-5"] = models["main"]
    with OpencodeServer(config=config, **LEAN) as server:
        yield server


@pytest.fixture
def called(guarded, model, place):
    """Call it with tool calls, a step each: what the server makes of them under these rules, as texts."""

    def call(*calls, rules=READ_WRITE, **options):
        steps = [*(Step(calls=(each,)) for each in calls), Step(say="Done.")]
        model.rules = (
            Rule(when="go", reply=Script(*steps)),
            Rule(when=lambda _: True, reply=Script(Step(say="Hi."))),
        )
        with Client(guarded.url, password=guarded.password, directory=str(place.folder)) as client:
            record = MemoryRecord("guarded")
            session = Session(record, permissions_for=rules)
            result = Turn(MemoryMessage("go"), session, client, **options).run()
            assert result.status is TurnStatus.COMPLETED, result.error
            place.children = [
                json.dumps([message.parts for message in client.messages(child.id)])
                for child in client.children(record.opencode_session_id)
            ]
        return [json.dumps([each.get("output"), each.get("error")]) for each in result.tools]

    return call


@pytest.fixture
def attempt(model, place):
    """Call it with a server, the rules of a session, and how many agents deep the one is that tries everything.

    Returns:
        What became of each kind of attempt, and the permissions that a person was asked for. None if no agent came
        as deep as that.
    """
    attempts = place.calls()
    # One kind after the other, as a refused ask takes others that wait with it.
    kinds = groupby(attempts, key=itemgetter(0))
    everything = Script(
        *(Step(calls=tuple(call for _, call in kind)) for _, kind in kinds), Step(say="Done.")
    )

    def tried(server, rules, *, depth=0):
        def reply(request):
            found = re.match(r"depth (\d)", request.prompt)
            if not found:
                return Script(Step(say="Hi."))
            level = int(found[1])
            return (
                everything
                if level == depth
                else Script(Step(calls=(to_sub_agent(level + 1),)), Step(say="Done."))
            )

        asked = []

        def refuse(ask):
            asked.append(ask.permission)
            return Answer.reject("Go on without it.")

        model.rules = (Rule(when=lambda _: True, reply=reply),)
        with Client(server.url, password=server.password, directory=str(place.folder)) as client:
            record = MemoryRecord("guarded")
            turn = Turn(
                MemoryMessage("depth 0"), Session(record, permissions_for=rules), client, on_ask=refuse
            )
            result = turn.run()
            assert result.status is TurnStatus.COMPLETED, result.error
            session_id = record.opencode_session_id
            for _ in range(depth):
                children = client.children(session_id)
                if not children:
                    return None, set()
                session_id = children[0].id
            messages = reversed(list(client.messages(session_id)))
            parts = [part for message in messages for part in message.parts]
        tools = [part for part in parts if part["type"] == "tool"]
        return outcome(attempts, tools), set(asked)

    return tried


def to_sub_agent(level):
    return Call("task", {"description": "d", "prompt": f"depth {level}", "subagent_type": "general"})


# By default a sub-agent may not start another one.
LOOPING = {"doom_loop": "allow"}  # several spellings of a path are one call, repeated
DELEGATING = {"agent": {"general": {"permission": {"task": "allow"}}}, "subagent_depth": 3}
REFUSED = ("prevents you from using", "unavailable tool", "rejected permission")


def outcome(attempts, tools):
    """The kinds of attempts that were done, and no attempt of any other kind."""
    done = {}
    for (what, _), tool in zip(attempts, tools, strict=True):
        done.setdefault(what, set()).add(not any(words in json.dumps(tool["state"]) for words in REFUSED))
    mixed = {what for what, each in done.items() if len(each) > 1}
    assert not mixed, mixed
    return {what for what, (each,) in done.items() if each}


def nothing_leaked(place):
    """Nothing is where an agent may not write."""
    assert {path.name for path in place.outside.iterdir()} == {"a.txt", "sub"}
    assert (place.outside / "a.txt").read_text() == "secret"
    assert list((place.folder / ".opencode").iterdir()) == []
    found = {path.name for path in place.folder.iterdir()}
    return not found & {"opencode.json", "opencode.jsonc", ".git", ".env.new"}


ALL = {
    *(
        READS_IN,
        READS_DOTENV,
        READS_OUTSIDE,
        LISTS_OUTSIDE,
        SEARCHES,
        WRITES_IN,
        WRITES_OUTSIDE,
        CONFIGURES_IT,
    ),
    *(RUNS, FETCHES, DELEGATES, NOTES),
}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (READ_ONLY, ({READS_IN, NOTES}, set())),
        pytest.param(ASK_FIRST, ({READS_IN, NOTES}, {"edit", "bash", "webfetch"}), marks=pytest.mark.full),
        pytest.param(READ_WRITE, ({READS_IN, NOTES, WRITES_IN}, set()), marks=pytest.mark.full),
    ],
    ids=["READ_ONLY", "ASK_FIRST", "READ_WRITE"],
)
def test_a_preset_closes_what_it_does_not_name(guarded, attempt, place, preset, expected):
    assert attempt(guarded, preset) == expected
    assert nothing_leaked(place)
    # A sub-agent would not ask, so there is none.
    assert attempt(guarded, preset, depth=1) == (None, set())
    assert attempt(guarded, [*preset, allow("task")], depth=1) == (set(), set())


@pytest.mark.full
def test_trusted_closes_nothing(guarded, attempt):
    assert attempt(guarded, TRUSTED) == (ALL, set())


@pytest.mark.full
def test_a_sub_agent_does_not_ask_what_the_session_asks(guarded, attempt):
    """Why the presets have no sub-agents. If this fails, the server has changed for the better: see `review_rules`."""
    rules = [allow("*"), deny("external_directory"), deny("read", "*.env*"), ask("edit"), ask("bash")]
    done, asked = attempt(guarded, rules, depth=1)
    assert {WRITES_IN, RUNS} <= done
    assert not asked


@pytest.mark.full
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_in_the_configuration_of_a_server_the_rules_hold_for_every_agent(
    own_server, model, attempt, place, depth
):
    rules = [*ASK_FIRST, allow("task")]
    config = {**model.config(), "permission": permission_config(rules) | LOOPING, **DELEGATING}
    server = own_server(config=config)
    done, asked = attempt(server, [], depth=depth)
    assert done >= {READS_IN, DELEGATES}
    assert done <= {READS_IN, DELEGATES, NOTES}
    assert asked == {"edit", "bash", "webfetch"}
    assert nothing_leaked(place)


def patch(*lines):
    return Call("apply_patch", {"patchText": "\n".join(["*** Begin Patch", *lines, "*** End Patch"])})


@pytest.mark.parametrize(
    "lines",
    sample(
        [
            ("*** Update File: a.txt", "*** Move to: .opencode/plugin/x.js", "@@", "-public", "+evil"),
            ("*** Update File: a.txt", "*** Move to:link/new.txt", "@@", "-public", "+evil"),
            ("*** Add File: .opencode/plugin/x.js", "+evil"),
            ("*** Add File: link/new.txt", "+evil"),
            ("*** Add File:link/new.txt", "+evil"),
            ("*** Add File: x\u2028/../link/new.txt", "+evil"),
            ("*** Add File: x\r/../link/new.txt", "+evil"),
            ("*** Add File: .env.new", "+evil"),
            ("*** Delete File: .env",),
            ("*** Update File: link/a.txt", "@@", "-secret", "+evil"),
        ],
        ("*** Update File: a.txt", "*** Move to:link/new.txt", "@@", "-public", "+evil"),
        ("*** Add File: .opencode/plugin/x.js", "+evil"),
        ("*** Delete File: .env",),
    ),
)
def test_a_patch_writes_nothing_that_the_rules_close(called, place, lines):
    called(patch(*lines), model="scripted/gpt-5")
    assert nothing_leaked(place)
    assert (place.folder / ".env").exists()
    assert not list(place.folder.rglob("*evil*"))


def test_a_patch_writes_in_the_folder(called, place):
    called(patch("*** Add File: deep/new.txt", "+made"), model="scripted/gpt-5")
    assert (place.folder / "deep" / "new.txt").read_text().strip() == "made"


def test_files_that_the_prompt_of_a_sub_agent_names_are_not_read_for_it(called, place):
    """The server would read them, past all rules."""
    prompt = f"@{place.outside}/a.txt @.env (@~/server.log) mail@example.com @a.txt"
    task = Call("task", {"description": "d", "prompt": prompt, "subagent_type": "general"})
    called(task, rules=[*READ_WRITE, allow("task")])
    (told,) = place.children
    assert "secret" not in told
    assert "public" not in told
    assert "mail@example.com" in told


@pytest.mark.parametrize("whose", ["another's", "a sub-agent's"])
def test_a_sub_agent_is_always_a_new_one_and_never_a_session_that_is_there(guarded, called, place, whose):
    """By the id of a task the server goes on with any session, under that session's rules."""
    with Client(guarded.url, password=guarded.password, directory=str(place.folder)) as client:
        parent = client.create(title="of somebody else").id
        there = parent if whose == "another's" else client.create(title="of old", parent_id=parent).id
        task = {"description": "d", "prompt": "Say hi.", "subagent_type": "general", "task_id": there}
        called(Call("task", task), rules=[*READ_WRITE, allow("task")])
        assert list(client.messages(there)) == []
    (told,) = place.children
    assert "Say hi." in told


def test_a_step_up_from_a_link_stays_in_the_folder(called, place):
    """The system would go up from where the link leads."""
    read, _ = called(
        Call("read", {"filePath": f"{place.folder}/into/../a.txt"}),
        Call("write", {"filePath": f"{place.folder}/into/../new.txt", "content": "written"}),
    )
    assert "public" in read
    assert (place.folder / "new.txt").exists()
    assert nothing_leaked(place)


def test_instructions_that_are_links_are_not_followed(called, place):
    (place.folder / "deep" / "AGENTS.md").symlink_to(place.outside / "a.txt")
    (place.folder / "deep" / "b.txt").write_text("public")
    (said,) = called(Call("read", {"filePath": "deep/b.txt"}))
    assert "is a link, which the server would follow" in said
    assert "secret" not in said


def test_a_repository_around_the_folder_does_not_open_it(called, place):
    subprocess.run(["git", "init", "-q", place.folder.parent], check=True)
    read, write = called(
        Call("read", {"filePath": "../outside/a.txt"}),
        Call("write", {"filePath": "../outside/new.txt", "content": "written"}),
    )
    assert "is outside of the agent's folder" in read
    assert "is outside of the agent's folder" in write
    assert nothing_leaked(place)


def test_a_server_that_does_not_load_the_guard_does_not_start(own_server):
    with pytest.raises(ServerStartError, match="did not load the guard"):
        own_server(env={**LEAN["env"], "OPENCODE_CONFIG_CONTENT": "{}"})
