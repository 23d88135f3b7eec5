"""What a prompt says beside its text reaches the model; what cannot work is refused before anything is sent."""

from __future__ import annotations

import base64
import copy

import pytest
from fix_server import LEAN
from model_bodies import bodies_asked

from opencode_sessions import Client, File, Observer, OpencodeServer, Session, Turn, allow, errors
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.turns.options import prompt_parts

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A picture of one pixel."""


@pytest.fixture(scope="module")
def studio(scripted_model):
    """A server with an agent, a model and a variant that others do not have, and models that can see."""
    config = copy.deepcopy(scripted_model.config())
    models = config["provider"]["scripted"]["models"]
    models["main"] |= {"attachment": True, "modalities": {"input": ["text", "image"], "output": ["text"]}}
    models["main"]["variants"] = {"deep": {"reasoningEffort": "high"}}
    models["other"] = models["main"]
    config["agent"] = {"poet": {"prompt": "You are a poet.", "mode": "primary"}}
    with OpencodeServer(config=config, **LEAN) as server:
        yield server


@pytest.fixture
def studio_client(studio):
    with Client(studio.url, password=studio.password) as client:
        yield client


@pytest.fixture
def session():
    return Session(MemoryRecord("Options"), permissions_for=lambda _: [allow("*")])


@pytest.fixture
def asked(studio_client, session):
    """Call it with options of `Turn` for the one request that the model gets, and how the turn ended."""

    def ask(prompt="hello", **options):
        with bodies_asked() as bodies:
            result = Turn(MemoryMessage(prompt), session, studio_client, **options).run()
        assert (result.status, result.error) == (TurnStatus.COMPLETED, None)
        (body,) = bodies
        return body, result

    return ask


def system_of(body):
    return "\n".join(message["content"] for message in body["messages"] if message["role"] == "system")


def user_parts(body):
    """What the user said last, as the parts that the model is given."""
    content = [message["content"] for message in body["messages"] if message["role"] == "user"][-1]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


@pytest.mark.full
def test_without_options_the_server_chooses(asked):
    body, _ = asked()
    assert body["model"] == "main"
    assert "You are a poet." not in system_of(body)
    assert "reasoning_effort" not in body
    assert user_parts(body) == [{"type": "text", "text": "hello"}]


def test_the_agent_that_is_named_answers(asked):
    body, _ = asked(agent="poet")
    assert system_of(body).startswith("You are a poet.")


def test_the_model_that_is_named_is_asked(asked):
    body, _ = asked(model="scripted/other")
    assert body["model"] == "other"


def test_the_variant_that_is_named_makes_the_model_try_harder(asked):
    body, _ = asked(variant="deep")
    assert body["reasoning_effort"] == "high"


def test_a_system_prompt_is_added_to_the_agents_own(asked):
    body, _ = asked(system="Answer in verse.", agent="poet")
    assert system_of(body).startswith("You are a poet.")
    assert system_of(body).endswith("Answer in verse.")


@pytest.mark.full
def test_a_model_holds_for_the_turns_after_it_until_another_is_named(asked):
    models = [
        asked(model=model)[0]["model"] for model in (None, "scripted/other", None, "scripted/main", None)
    ]
    assert models == ["main", "other", "other", "main", "main"]


def test_other_options_hold_for_their_own_turn_only(asked):
    asked(agent="poet", system="Answer in verse.", variant="deep", model="scripted/other")
    body, _ = asked(agent="build")
    assert "verse" not in system_of(body)
    assert "poet" not in system_of(body)
    assert "reasoning_effort" not in body


def test_files_reach_the_model_after_the_text(asked, studio_client, tmp_path):
    (tmp_path / "plan.md").write_text("# The plan ✈")
    files = [
        File.of("north, then south", name="route.txt"),
        File.of(tmp_path / "plan.md"),
        File.of(b"day,city\n1,Rome", name="days.csv"),
        File.of(DOT, name="dot.png"),
    ]
    body, result = asked("look", files=files)
    first, *others = user_parts(body)
    assert first == {"type": "text", "text": "look"}
    # Which comes first is the server's choice; of some it says by which tool they would be read.
    told = {part["text"] for part in others if part["type"] == "text"}
    assert told >= {"north, then south", "# The plan ✈", "day,city\n1,Rome"}
    (picture,) = [part["image_url"]["url"] for part in others if part["type"] == "image_url"]
    assert picture == f"data:image/png;base64,{base64.b64encode(DOT).decode()}"
    stored = studio_client.message(result.session_id, result.prompt_id).parts
    names = [part["filename"] for part in stored if part["type"] == "file"]
    assert names == ["route.txt", "plan.md", "days.csv", "dot.png"]


def test_a_file_on_the_servers_machine_is_read_there_when_it_is_asked_for(asked, studio):
    path = studio.directory / "here.txt"
    file = File("here.txt", path.as_uri(), "text/plain")
    path.write_text("written after the File was made")
    body, _ = asked("look", files=[file])
    assert any("written after the File was made" in part["text"] for part in user_parts(body))


def test_the_parts_of_a_prompt_are_the_same_each_time_and_no_others():
    files = [File.of("a", name="a.txt"), File.of("b", name="b.txt")]
    parts = prompt_parts("msg_1", "look", files)
    assert parts == prompt_parts("msg_1", "look", files)
    ids = {part["id"] for prompt in ("msg_1", "msg_2") for part in prompt_parts(prompt, "look", files)}
    assert len(ids) == 2 * len(parts) == 6
    assert all(each.startswith("prt_") for each in ids)


@pytest.mark.parametrize(
    ("name", "content", "mime"),
    [
        ("a.md", "# a", "text/plain"),
        ("a.svg", "<svg/>", "text/plain"),
        ("a.png", DOT, "image/png"),
        ("LICENSE", b"free", "text/plain"),
        ("core", b"\xff", "application/octet-stream"),
        ("a.zip", b"\xff", "application/zip"),
    ],
    ids=["a text", "a drawing", "a picture", "bytes that are one", "bytes", "an archive"],
)
def test_a_file_says_of_which_type_it_is(name, content, mime):
    assert File.of(content, name=name).mime == mime
    assert File.of(content, name=name, mime="text/x-own").mime == "text/x-own"


# -- what cannot work ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["text", b"bytes"], ids=["text", "bytes"])
def test_a_file_without_a_name_is_refused_with_what_to_write(content):
    with pytest.raises(errors.ConfigurationError, match=r"needs a name: File\.of\(content, name=…\)"):
        File.of(content)


def test_a_file_that_is_not_there_is_said_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        File.of(tmp_path / "nowhere.txt")


def test_what_would_have_to_be_awaited_is_refused_by_the_sync_api(studio_client, session):
    async def handler(_):
        """Never called."""

    class Awaited(Observer):
        async def finished(self, result):
            """Never called."""

    with pytest.raises(errors.ConfigurationError, match=r"on_ask must be an ordinary function here"):
        Turn(MemoryMessage("x"), session, studio_client, on_ask=handler)
    with pytest.raises(errors.ConfigurationError, match=r"Awaited\.finished must not be async"):
        Turn(MemoryMessage("x"), session, studio_client, observer=Awaited())


WRONG = {
    "a path for a file": {"files": ["plan.md"]},
    "a file for a list": {"files": File.of("x", name="x.txt")},
    "an address that no server fetches": {"files": [File("x.png", "https://example.org/x.png", "image/png")]},
    "a path for an address": {"files": [File("plan.md", "plan.md", "text/plain")]},
    "a model without its provider": {"model": "main"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_option_that_cannot_work_is_refused_before_the_turn_is_taken(studio_client, session, wrong):
    with pytest.raises(errors.ConfigurationError):
        Turn(MemoryMessage("x"), session, studio_client, **WRONG[wrong])


@pytest.mark.parametrize("prompt", ["", " \n", None])
def test_an_empty_prompt_is_refused_before_anything_is_stored_or_sent(studio_client, prompt):
    record, message = MemoryRecord(), MemoryMessage(prompt)
    with pytest.raises(
        errors.ConfigurationError, match=r"^memory:\d+ has no prompt, or a blank one: store what"
    ):
        Turn(message, Session(record), studio_client).run()
    assert (message.state.status, message.state.epoch, record.opencode_session_id) == ("pending", 0, None)


def test_files_may_go_without_a_text(asked):
    body, _ = asked("", files=[File.of("Leave on Monday.", name="plan.md")])
    texts = [part["text"] for part in user_parts(body)]
    assert any("Leave on Monday." in text for text in texts)
    assert "" not in texts


def test_a_text_is_sent_as_one_whatever_its_name(asked):
    body, _ = asked("look", files=[File.of('{"city": "Rome"}', name="stop.json")])
    assert any("Rome" in part["text"] for part in user_parts(body))
