import re

import pytest

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing import DEFAULT_RULE, Call, Cut, ModelRequest, Refusal, Rule, Script, Step
from opencode_sessions.testing.model.completions import completion, deltas, finish_reason, usage
from opencode_sessions.testing.model.directives import parse_directives, without_directives
from opencode_sessions.testing.model.rules import next_step

WRITE = '!tool write {"filePath": "a.txt", "content": "hi"}'
READ = '!tool read {"filePath": "a.txt"}'


def user(content):
    return {"role": "user", "content": content}


def called(*calls):
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": i, "function": {"name": name, "arguments": "{}"}} for i, name in calls],
    }


def result(call_id, output):
    return {"role": "tool", "tool_call_id": call_id, "content": output}


def asked(*messages, model="main"):
    return ModelRequest(model=model, messages=({"role": "system", "content": "Be brief."}, *messages))


def answer(*messages, rules=(DEFAULT_RULE,)):
    return next_step(asked(*messages), rules)


def test_the_first_prompt_is_echoed():
    assert answer(user("first")) == Step(say='You said: "first".')


def test_the_echo_knows_what_was_said_before():
    step = answer(user("first"), {"role": "assistant", "content": "ok"}, user("second"))
    assert step.say == 'You said: "second". Before that you said: "first".'


def test_a_prompt_in_parts_is_one_text():
    parts = [{"type": "text", "text": "one"}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    assert answer(user(parts)).say == 'You said: "one two".'


def test_a_long_prompt_is_quoted_shortly():
    say = answer(user("word " * 1000)).say
    assert len(say) < 250
    assert say.endswith('…".')


def test_the_echo_leaves_out_the_directives():
    assert answer(user("!slow 0.5\nhello there")) == Step(say='You said: "hello there".', pause=0.5)


def test_a_request_without_a_prompt_is_answered():
    assert answer().say == "You said nothing."


def test_every_tool_line_is_a_step_and_and_adds_to_it():
    script = parse_directives(f"please\n{WRITE}\n{READ}\n!and glob")
    assert script == Script(
        Step(calls=(Call("write", {"filePath": "a.txt", "content": "hi"}),)),
        Step(calls=(Call("read", {"filePath": "a.txt"}), Call("glob"))),
        Step(),
    )


def test_what_stands_before_a_tool_line_belongs_to_its_step():
    script = parse_directives(f"!reason hm\n!say let me\n{WRITE}\n!reason so\n!say it is done\n!say and well")
    first, last = script.steps
    assert (first.reason, first.say) == ("hm", "let me")
    assert (last.reason, last.say) == ("so", "it is done\nand well")


def test_slowness_holds_from_its_step_on():
    script = parse_directives(f"{WRITE}\n!slow 0.25\n{READ}")
    assert [step.pause for step in script.steps] == [0, 0.25, 0.25]


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("!error 400 no such thing", Refusal(400, "no such thing")),
        ("!error 503", Refusal(503, "scripted error 503")),
        ("!rate-limit 0.5", Refusal(429, "Rate limit reached", retry_after=0.5, times=1)),
        ("!rate-limit 2 3", Refusal(429, "Rate limit reached", retry_after=2, times=3)),
        ("!cut", Cut(times=1)),
        ("  !CUT 2  ", Cut(times=2)),
    ],
)
def test_a_trouble_is_read_from_its_line(line, trouble):
    assert parse_directives(line) == Script(Step(trouble=trouble))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("!dance", "there is no !dance, only !tool, !and, !reason"),
        ("!tool", "the tool's name is missing"),
        ('!tool {"a": 1}', "the tool's name is missing"),
        ("!tool write {filePath}", "its arguments are not JSON"),
        ("!tool write [1]", "its arguments are not a JSON object"),
        ("!and read", "there is no !tool just before it"),
        ("!say", "its text is missing"),
        ("!reason  ", "its text is missing"),
        ("!slow", "it takes a number of seconds"),
        ("!slow -1", "it takes 0 to 3600 seconds"),
        ("!slow nan", "it takes 0 to 3600 seconds"),
        ("!slow inf", "it takes 0 to 3600 seconds"),
        ("!error nope", "it takes an HTTP status from 400 to 599"),
        ("!error 200 fine", "it takes an HTTP status from 400 to 599"),
        ("!rate-limit 1 0", "it can happen 1 to 1000 times"),
        ("!rate-limit 1 2 3", "it can happen 1 to 1000 times"),
        ("!cut often", "it can happen 1 to 1000 times"),
        ("!cut\n!error 500", "one thing a step can go wrong"),
    ],
)
def test_a_bad_directive_is_answered_with_what_is_wrong(line, reason):
    step = answer(user(f"hello\n{line}"))
    assert step.calls == ()
    assert step.trouble is None
    assert step.say.startswith("I cannot follow line ")
    assert reason in step.say


def test_a_bad_directive_is_named_with_its_line():
    assert '2, "!dance now":' in answer(user("hello\n!dance now")).say


def test_only_lines_that_begin_with_a_bang_and_a_letter_are_directives():
    text = "well! say so\n!= is an operator\n! alone"
    assert parse_directives(text) == Script(Step())
    assert without_directives(text) == text


def test_arguments_may_hold_line_ends_of_other_alphabets():
    line = '!tool write {"content": "a\u2028b\\nc"}'
    assert parse_directives(line).steps[0].calls == (Call("write", {"content": "a\u2028b\nc"}),)


def test_the_tool_results_tell_which_step_is_due():
    prompt = user(f"{WRITE}\n{READ}")
    wrote = (called(("c1", "write")), result("c1", "Wrote it."))
    read = (called(("c2", "read")), result("c2", "hi"))
    assert answer(prompt).calls[0].tool == "write"
    assert answer(prompt, *wrote).calls[0].tool == "read"
    assert answer(prompt, *wrote, *read) == Step(say='Done. write: "Wrote it." read: "hi"')


def test_parallel_results_are_one_step():
    prompt = user(f"{WRITE}\n!and glob\n{READ}")
    both = (called(("c1", "write"), ("c2", "glob")), result("c1", "ok"), result("c2", "ok"))
    assert answer(prompt, *both).calls[0].tool == "read"


def test_results_of_earlier_turns_do_not_count():
    earlier = (
        user(WRITE),
        called(("c1", "write")),
        result("c1", "ok"),
        {"role": "assistant", "content": "."},
    )
    assert answer(*earlier, user(READ)).calls[0].tool == "read"


def test_an_attachment_of_a_tool_is_not_a_prompt():
    attached = user([{"type": "text", "text": "Attached media from tool result:"}, {"type": "image_url"}])
    step = answer(user(f"{READ}\n!say seen"), called(("c1", "read")), result("c1", "an image"), attached)
    assert step.say == "seen"


def test_a_step_is_the_same_place_whether_or_not_its_broken_answer_is_sent_along():
    broken = {"role": "assistant", "content": "You sa"}
    assert asked(user("a")).place == asked(user("a"), broken).place
    places = [(user("a"),), (user("a"), user("a")), (user("a"), called(("c1", "read")), result("c1", ""))]
    assert len({asked(*messages).place for messages in places}) == 3


def test_the_first_rule_that_matches_wins():
    rules = (
        Rule("weather", Script(Step(say="sunny"))),
        Rule(re.compile(r"\bweather in \w+"), Script(Step(say="never reached"))),
        Rule(lambda request: len(request.prompts) > 1, lambda request: Script(Step(say=request.prompts[0]))),
        DEFAULT_RULE,
    )
    assert answer(user("the weather in Bern"), rules=rules).say == "sunny"
    assert answer(user("a"), user("b"), rules=rules).say == "a"
    assert answer(user("a"), rules=rules).say == 'You said: "a".'


def test_a_pattern_is_searched_in_the_prompt():
    rules = (Rule(re.compile(r"^book (\d+)", re.MULTILINE), Script(Step(say="booked"))), DEFAULT_RULE)
    assert answer(user("hello\nbook 12"), rules=rules).say == "booked"
    assert answer(user("the book"), rules=rules).say == 'You said: "the book".'


def test_a_script_that_ends_on_calls_is_closed_with_their_results():
    rules = (Rule("", Script(Step(calls=(Call("bash", {"command": "date"}),), pause=0.1))),)
    step = answer(user("now"), called(("c1", "bash")), result("c1", "noon"), rules=rules)
    assert step == Step(say='Done. bash: "noon"', pause=0.1)


def test_an_empty_answer_can_be_scripted():
    assert answer(user("a"), rules=(Rule("a", Script(Step(say=""))),)).say == ""


def test_without_a_matching_rule_the_answer_says_so():
    assert answer(user("a"), rules=(Rule("b", Script()),)).say.startswith('No rule matches "a"')


def test_a_step_that_can_never_be_reached_is_refused():
    with pytest.raises(ConfigurationError, match="Step 1 of 2 calls no tool"):
        Script(Step(say="a"), Step(say="b"))


def test_a_title_is_short_and_asks_no_rule():
    request = asked(user("Generate a title:"), user("!slow 1\none two three four five six"), model="small")
    rules = (Rule("", Script(Step(say="not a title"))),)
    assert next_step(request, rules) == Step(say="one two three four five")


def test_the_deltas_are_words_that_make_up_the_answer_again():
    step = Step(reason="let me  see\n", say=" one\ttwo three ")
    pieces = list(deltas(step, asked(user("x"))))
    assert "".join(p.get("content", "") for p in pieces) == step.say
    assert "".join(p.get("reasoning_content", "") for p in pieces) == step.reason
    assert len(pieces) == 6


def test_call_ids_are_the_same_when_asked_again_and_new_in_the_next_step():
    def ids(*messages):
        step = Step(calls=(Call("a"), Call("b")))
        return [piece["tool_calls"][0]["id"] for piece in deltas(step, asked(*messages))]

    first = ids(user("x"))
    assert ids(user("x")) == first
    later = ids(user("x"), called(*zip(first, "ab", strict=True)), *(result(i, "ok") for i in first))
    assert len({*first, *later, *ids(user("x"), user("y"))}) == 6


def test_the_bill_counts_words():
    bill = usage(Step(reason="so it is", say="yes indeed"), asked(user("one two three")))
    assert bill["prompt_tokens"] == 5
    assert bill["completion_tokens"] == 5
    assert bill["total_tokens"] == 10
    assert bill["completion_tokens_details"] == {"reasoning_tokens": 3}


def test_a_step_with_calls_finishes_for_its_calls():
    step = Step(say="let me", calls=(Call("bash", {"command": "ls"}),))
    assert finish_reason(step) == "tool_calls"
    assert finish_reason(Step(say="done")) == "stop"
    message = completion(step, asked(user("x")))["choices"][0]["message"]
    assert message["content"] == "let me"
    assert message["tool_calls"][0]["function"] == {"name": "bash", "arguments": '{"command": "ls"}'}
