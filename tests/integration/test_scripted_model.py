import asyncio
import json
import re
import socket
import threading
import time

import httpx2
import pytest
from fix_server import LEAN

from opencode_sessions import OpencodeServer
from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing import Call, Cut, Refusal, Rule, Script, ScriptedModel, Step


@pytest.fixture
def model():
    with ScriptedModel() as model:
        yield model


def body(prompt, **more):
    return {"model": "main", "messages": [{"role": "user", "content": prompt}]} | more


def ask(scripted, prompt, *, session=None, **more):
    headers = {"X-Session-Affinity": session} if session else {}
    url = f"{scripted.url}/chat/completions"
    return httpx2.post(url, json=body(prompt, **more), headers=headers, trust_env=False, timeout=60)


def events(response):
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def said(response):
    return response.json()["choices"][0]["message"]["content"]


def model_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("scripted-model")}


def test_an_answer_streams_word_by_word_and_ends_with_the_bill(model):
    first, *words, last = events(ask(model, "hello you", stream=True))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    deltas = [word["choices"][0]["delta"]["content"] for word in words]
    assert deltas == ["You ", "said: ", '"hello ', 'you".']
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["total_tokens"] == 6


def test_an_answer_that_is_not_streamed_comes_whole(model):
    response = ask(model, "!reason hm\nhello")
    message = response.json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": 'You said: "hello".', "reasoning_content": "hm"}
    assert response.json()["usage"]["completion_tokens"] == 4


def test_a_slow_answer_waits_before_every_delta(model):
    start = time.monotonic()
    ask(model, "!slow 0.1\n!say one two three", stream=True)
    assert time.monotonic() - start >= 0.3


def test_an_error_is_answered_every_time(model):
    for _ in range(3):
        response = ask(model, "!error 503 overloaded", stream=True)
        assert response.status_code == 503
        assert response.json()["error"]["message"] == "overloaded"


def test_a_rate_limit_strikes_as_often_as_asked_and_in_each_session(model):
    for session in ("ses_1", "ses_2"):
        responses = [ask(model, "!rate-limit 0.5 2\nhello", session=session) for _ in range(4)]
        assert [response.status_code for response in responses] == [429, 429, 200, 200]
        assert responses[0].headers["retry-after"] == "0.5"
        assert "retry-after" not in responses[2].headers


def test_a_reset_forgets_what_was_asked_and_what_has_struck(model):
    assert ask(model, "!rate-limit 1").status_code == 429
    assert ask(model, "!rate-limit 1").status_code == 200
    model.reset()
    assert model.calls == []
    assert model.call_count == 0
    assert ask(model, "!rate-limit 1").status_code == 429


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_breaks_the_connection_in_the_middle(model, stream):
    with pytest.raises(httpx2.RemoteProtocolError):
        ask(model, "!cut\n!say one two three four", stream=stream)
    assert ask(model, "!cut\n!say one two three four", stream=stream).status_code == 200


def test_a_cut_stream_has_said_half(model):
    received = b""

    def read():
        nonlocal received
        request = {"json": body("!cut\n!say one two three four", stream=True), "trust_env": False}
        with httpx2.stream("POST", f"{model.url}/chat/completions", **request) as response:
            for data in response.iter_bytes():
                received += data

    with pytest.raises(httpx2.RemoteProtocolError):
        read()
    assert b"one" in received
    assert b"two" in received
    assert b"three" not in received


def test_rules_may_be_replaced_while_it_runs(model):
    model.rules = (Rule("hello", Script(Step(say="good day"))),)
    assert said(ask(model, "hello")) == "good day"


def test_a_rule_that_raises_is_an_error_that_names_it(model):
    model.rules = (Rule(lambda request: request.nothing, Script()),)
    response = ask(model, "hello")
    assert response.status_code == 400
    assert "AttributeError" in response.json()["error"]["message"]


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b'{"model": "main"}'])
def test_a_request_that_is_none_is_refused(model, data):
    response = httpx2.post(f"{model.url}/chat/completions", content=data, trust_env=False, timeout=100)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("The scripted model: no answer")


def test_it_lists_its_models_and_knows_no_other_route(model):
    models = httpx2.get(f"{model.url}/models", trust_env=False, timeout=100).json()["data"]
    assert [entry["id"] for entry in models] == ["main", "small"]
    assert httpx2.get(f"{model.url}/files", trust_env=False, timeout=100).status_code == 404
    assert httpx2.post(f"{model.url}/files", trust_env=False, timeout=100).status_code == 404


def test_titles_do_not_count(model):
    ask(model, "hello", session="ses_1", tools=[{"type": "function", "function": {"name": "bash"}}])
    ask(model, "Generate a title", model="small")
    assert [call.is_title for call in model.calls] == [False, True]
    assert model.call_count == 1
    first = model.calls[0]
    assert (first.prompt, first.session, first.tools, first.stream) == ("hello", "ses_1", ("bash",), False)


def test_stopping_breaks_off_what_is_slow_and_leaves_no_thread_and_no_port():
    others = model_threads()
    model = ScriptedModel().start()
    address = model._running[0].server_address
    silent = socket.create_connection(address)
    failures = []

    def wait():
        try:
            ask(model, "!slow 3600", stream=True)
        except httpx2.TransportError as error:
            failures.append(error)

    asking = threading.Thread(target=wait)
    asking.start()
    while not model.calls:
        time.sleep(0.01)
    model.stop()
    asking.join(60)
    assert len(failures) == 1
    assert silent.recv(1) == b""
    silent.close()
    deadline = time.monotonic() + 60  # another model of this process may be asked just now
    while not model_threads() <= others:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_starting_and_stopping_twice_is_once():
    model = ScriptedModel()
    assert model.start().url == model.start().url
    model.stop()
    model.stop()
    with pytest.raises(ConfigurationError, match="is not running"):
        model.config()


def test_it_can_be_started_again_on_its_port(model):
    port = int(model.url.rpartition(":")[2].removesuffix("/v1"))
    with pytest.raises(ConfigurationError, match=f"port {port}"):
        ScriptedModel(port=port).start()
    model.stop()
    with ScriptedModel(port=port) as again:
        assert said(ask(again, "hello")) == 'You said: "hello".'


def test_many_can_ask_at_once_from_an_event_loop():
    together = threading.Barrier(20)

    def play(request):
        together.wait(60)
        return Script(Step(say=f"You said: {request.prompt}"))

    async def ask_all():
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
            url = f"{model.url}/chat/completions"
            return await asyncio.gather(*(client.post(url, json=body(f"Number {n}")) for n in range(20)))

    with ScriptedModel(rules=[Rule(re.compile("Number"), play)]) as model:
        responses = asyncio.run(ask_all())
    assert [said(response) for response in responses] == [f"You said: Number {n}" for n in range(20)]


# With the real server


@pytest.fixture(scope="module")
def scripted_model():
    """One for these tests alone: they count what it is asked."""
    with ScriptedModel() as model:
        yield model


@pytest.fixture(scope="module")
def server(scripted_model):
    with OpencodeServer(config=scripted_model.config(), **LEAN) as server:
        yield server


@pytest.fixture
def ask_opencode(scripted_model, server):
    """Run one turn on the real server and return its assistant messages."""
    rules = scripted_model.rules
    scripted_model.reset()
    with httpx2.Client(
        base_url=server.url, auth=(server.username, server.password), timeout=60, trust_env=False
    ) as client:
        session = client.post("/session", json={"title": "test"}).json()["id"]

        def run(prompt):
            turn = {"parts": [{"type": "text", "text": prompt}]}
            client.post(f"/session/{session}/message", json=turn).raise_for_status()
            messages = client.get(f"/session/{session}/message").json()
            prompted = max(i for i, message in enumerate(messages) if message["info"]["role"] == "user")
            return messages[prompted + 1 :]

        yield run
    scripted_model.rules = rules


def parts(messages, kind):
    return [part for message in messages for part in message["parts"] if part["type"] == kind]


def text(messages):
    return "".join(part["text"] for part in parts(messages, "text"))


@pytest.mark.full
def test_opencode_gets_the_echo_and_a_bill(scripted_model, ask_opencode):
    ask_opencode("first")
    (answer,) = ask_opencode("second")
    assert text([answer]) == 'You said: "second". Before that you said: "first".'
    assert answer["info"]["finish"] == "stop"
    assert answer["info"]["cost"] > 0
    assert answer["info"]["tokens"]["output"] == 8
    assert scripted_model.call_count == 2
    assert len({call.session for call in scripted_model.calls}) == 1


@pytest.mark.full
def test_opencode_runs_the_tools_of_several_steps(scripted_model, ask_opencode):
    messages = ask_opencode(
        "!reason I write it first\n"
        '!tool write {"filePath": "note.txt", "content": "forty-two"}\n'
        '!tool read {"filePath": "note.txt"}\n'
        '!and todowrite {"todos": [{"content": "rest", "status": "pending", "priority": "low"}]}'
    )
    assert [part["text"] for part in parts(messages, "reasoning")] == ["I write it first"]
    tools = parts(messages, "tool")
    assert [tool["tool"] for tool in tools] == ["write", "read", "todowrite"]
    assert {tool["state"]["status"] for tool in tools} == {"completed"}
    assert "forty-two" in tools[1]["state"]["output"]
    assert [message["info"]["finish"] for message in messages] == ["tool-calls", "tool-calls", "stop"]
    assert text(messages).startswith('Done. write: "Wrote file successfully." read: "')
    assert scripted_model.call_count == 3


@pytest.mark.full
def test_opencode_directs_a_sub_agent_by_the_prompt_of_its_task(scripted_model, ask_opencode):
    task = {"description": "sub", "subagent_type": "general", "prompt": "!say from below"}
    messages = ask_opencode(f"!tool task {json.dumps(task)}\n!say from above")
    assert "from below" in parts(messages, "tool")[0]["state"]["output"]
    assert text(messages) == "from above"
    assert len({call.session for call in scripted_model.calls}) == 2


@pytest.mark.full
def test_opencode_reports_a_final_provider_error_and_goes_on_in_the_next_turn(scripted_model, ask_opencode):
    (answer,) = ask_opencode("!error 400 no such thing")
    error = answer["info"]["error"]["data"]
    assert (error["message"], error["statusCode"], error["isRetryable"]) == ("no such thing", 400, False)
    assert scripted_model.call_count == 1
    assert text(ask_opencode("hello")).startswith('You said: "hello".')


@pytest.mark.full
def test_opencode_waits_out_a_rate_limit(scripted_model, ask_opencode):
    start = time.monotonic()
    (answer,) = ask_opencode("!rate-limit 0.3 2\nhello")
    assert time.monotonic() - start >= 0.6
    assert text([answer]) == 'You said: "hello".'
    assert scripted_model.call_count == 3


@pytest.mark.full
def test_opencode_retries_a_server_error_and_a_cut_stream(scripted_model, ask_opencode):
    shaky = (Rule("error", Script(Step(say="well", trouble=Refusal(503, "busy", retry_after=0.1, times=1)))),)
    scripted_model.rules = (*shaky, Rule("", Script(Step(say="one two", trouble=Cut(times=1)))))
    assert text(ask_opencode("error")) == "well"
    assert text(ask_opencode("cut")) == "one two"
    assert scripted_model.call_count == 4


@pytest.mark.full
def test_opencode_follows_the_rules_of_a_host(scripted_model, ask_opencode):
    listing = Step(
        reason="a look", calls=(Call("bash", {"command": "echo $((6 * 7))", "description": "sum"}),)
    )
    scripted_model.rules = (Rule("sum", Script(listing)),)
    assert text(ask_opencode("the sum please")) == 'Done. bash: "42"'


@pytest.mark.full
def test_opencode_is_told_what_is_wrong_with_a_directive(ask_opencode):
    answer = text(ask_opencode("!tool write {oops"))
    assert answer.startswith('I cannot follow line 1, "!tool write {oops": its arguments are not JSON')


@pytest.mark.full
def test_opencode_asks_the_small_model_for_titles(scripted_model, server):
    scripted_model.reset()
    with httpx2.Client(
        base_url=server.url, auth=(server.username, server.password), timeout=60, trust_env=False
    ) as client:
        session = client.post("/session", json={}).json()["id"]
        turn = {"parts": [{"type": "text", "text": "plan a trip to Bern in May"}]}
        client.post(f"/session/{session}/message", json=turn).raise_for_status()
        deadline = time.monotonic() + 60
        while (title := client.get(f"/session/{session}").json()["title"]) != "plan a trip to Bern":
            assert time.monotonic() < deadline, title
            time.sleep(0.05)
    assert [call.is_title for call in scripted_model.calls].count(True) == 1
    assert scripted_model.call_count == 1
