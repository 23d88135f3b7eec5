"""What the scripted model answers in the demo. Each suggestion of the empty conversation has a scene of its own.

The tools that it calls are real: the files are read and changed, the tests run, and what it says of them at the
end it has from what came back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from demo import texts
from opencode_sessions.testing import DEFAULT_RULE, Call, ModelRequest, Refusal, Rule, Script, Step

__all__ = ["rules"]

Scene = Callable[[ModelRequest], Script]

_FEEDBACK = re.compile(r"following feedback: (.+)", re.DOTALL)
_SENT = re.compile(r'"([^"\n]+)", which the user calls "([^"\n]+)"')
_BUG = "sum(line.price for line"
_MENDED = "sum(line.price * line.count for line"
_TODOS = ("Read the cart and its tests", "Mend the total", "Run the tests")


def rules(pace: float = 0.03) -> tuple[Rule, ...]:
    """The model's rules.

    Args:
        pace: Seconds before each word.
    """
    scenes: dict[str, Scene] = {
        r"which the user calls": _read_sent,
        r"You are to check every price": _check_prices,
        r"\b(bug|wrong when|tests?)\b": _mend,
        r"\bspecials\b": _plan,
        r"\b(second opinion|somebody else)\b": _delegate,
        r"\b(sourdough|at length)\b": _tell,
        r"\bexpress oven\b": _fail_once,
        r"\b(folder|look around|bakery)\b": _look_around,
    }
    paced = [
        Rule(re.compile(pattern, re.IGNORECASE), _paced(scene, pace)) for pattern, scene in scenes.items()
    ]
    directed = Rule(lambda request: request.prompt.lstrip().startswith("!"), DEFAULT_RULE.reply)
    return directed, *paced, Rule(lambda _: True, _paced(_converse, pace))


def _paced(scene: Scene, pace: float) -> Scene:
    """The scene at this pace; a step's own `pause` is how many times slower it is."""

    def play(request: ModelRequest) -> Script:
        steps = scene(request).steps
        return Script(*(replace(step, pause=(step.pause or 1) * pace) for step in steps))

    return play


def _read_sent(request: ModelRequest) -> Script:
    paths = _SENT.findall(request.prompt)
    calls = tuple(Call("read", {"filePath": path}) for path, _ in paths[:3])
    names = ", ".join(f"*{name}*" for _, name in paths)
    return Script(Step(say=texts.SENT_SAY, calls=calls), Step(say=texts.SENT_ANSWER.format(names=names)))


def _look_around(_: ModelRequest) -> Script:
    return Script(
        Step(
            reason=texts.LOOK_THOUGHT,
            say="I will have a look around.",
            calls=(
                Call("read", {"filePath": "README.md"}),
                Call("read", {"filePath": "prices.csv"}),
                Call("read", {"filePath": "shop/cart.py"}),
            ),
        ),
        Step(reason=texts.LOOK_SECOND_THOUGHT, say=texts.LOOK_ANSWER),
    )


def _mend(request: ModelRequest) -> Script:
    read = Step(
        reason=texts.MEND_THOUGHT,
        say="Let me see how the total is reckoned.",
        calls=(
            _todos(0),
            Call("read", {"filePath": "shop/cart.py"}),
            Call("read", {"filePath": "shop/test_cart.py"}),
        ),
    )
    if (refused := _refused(request)) is not None:
        return _now(request, refused)
    test = Step(
        say="Now the tests.",
        calls=(
            Call(
                "bash",
                {
                    "command": "python3 -B -m unittest -v shop/test_cart.py",
                    "description": "Run the cart's tests",
                },
            ),
        ),
    )
    end = Step(calls=(_todos(3),))
    if request.tool_results and not any(_BUG in result.output for result in request.tool_results[:3]):
        return Script(read, replace(test, say=texts.MEND_NOTHING), end, Step(say=_verdict(request)))
    mend = Step(
        say=texts.MEND_FOUND,
        calls=(
            _todos(1),
            Call("edit", {"filePath": "shop/cart.py", "oldString": _BUG, "newString": _MENDED}),
        ),
    )
    return Script(read, mend, test, end, Step(say=_verdict(request)))


def _verdict(request: ModelRequest) -> str:
    told = next((result.output for result in reversed(request.tool_results) if result.name == "bash"), "")
    ran = re.search(r"Ran (\d+) tests? in", told)
    if ran and re.search(r"^OK", told, re.MULTILINE):
        return texts.MEND_DONE.format(count=ran[1])
    return texts.MEND_FAILED.format(output=told.strip()[-400:])


def _todos(done: int) -> Call:
    states = ["completed"] * done + ["in_progress"] + ["pending"] * len(_TODOS)
    todos = [
        {"content": text, "status": state, "priority": "medium"}
        for text, state in zip(_TODOS, states, strict=False)
    ]
    return Call("todowrite", {"todos": todos})


def _plan(request: ModelRequest) -> Script:
    ask = Step(
        reason=texts.PLAN_THOUGHT,
        say="Gladly. Two things first:",
        calls=(Call("question", texts.PLAN_QUESTIONS),),
    )
    if (refused := _refused(request)) is not None:
        return _now(request, refused)
    asked = request.tool_results[0].output if request.tool_results else ""
    days = [day for day in texts.DAYS if day in asked] or list(texts.DAYS[:2])
    theme = next((theme for theme in texts.SPECIALS if theme in asked), "Surprise us")
    specials = texts.SPECIALS[theme]
    lines = [f"- **{day}**: {special}" for day, special in zip(days, specials, strict=False)]
    text = f"# Specials of the week: {theme.lower()}\n\n" + "\n".join(lines) + "\n"
    write = Step(say=texts.PLAN_WRITE, calls=(Call("write", {"filePath": "specials.md", "content": text}),))
    return Script(ask, write, Step(say=texts.PLAN_DONE.format(specials="\n".join(lines))))


def _delegate(request: ModelRequest) -> Script:
    task = {
        "description": "Check the prices",
        "subagent_type": "general",
        "prompt": "You are to check every price in prices.csv. Say which look odd, and why.",
    }
    found = "slice" if any("heesecake" in result.output for result in request.tool_results) else ""
    return Script(
        Step(reason=texts.DELEGATE_THOUGHT, say=texts.DELEGATE_SAY, calls=(Call("task", task),)),
        Step(say=texts.DELEGATE_FOUND if found else texts.DELEGATE_NOTHING),
    )


def _check_prices(_: ModelRequest) -> Script:
    return Script(
        Step(say="I read the list.", calls=(Call("read", {"filePath": "prices.csv"}),)),
        Step(say="And what the shop says of itself.", calls=(Call("read", {"filePath": "README.md"}),)),
        Step(say=texts.CHECKED),
    )


def _tell(_: ModelRequest) -> Script:
    return Script(Step(reason=texts.LONG_THOUGHT, say=texts.LONG_STORY, pause=2.5))


def _fail_once(request: ModelRequest) -> Script:
    tries = sum("express oven" in prompt.lower() for prompt in request.prompts)
    if tries <= 1:
        return Script(Step(trouble=Refusal(400, texts.OVEN_TROUBLE)))
    return Script(Step(say=texts.OVEN_ANSWER))


def _converse(request: ModelRequest) -> Script:
    before = request.prompts[:-1]
    said = f"> {request.prompt.strip().splitlines()[0][:200]}\n\n" if request.prompt.strip() else ""
    memory = texts.MEMORY.format(before=before[-1].strip().splitlines()[0][:120]) if before else ""
    return Script(Step(reason=texts.CONVERSE_THOUGHT, say=said + texts.CONVERSE + memory))


def _now(request: ModelRequest, say: str) -> Script:
    """Say this next, however many tools were called before."""
    called = tuple(Call(result.name) for result in request.tool_results)
    return Script(*([Step(calls=called)] if called else []), Step(say=say))


def _refused(request: ModelRequest) -> str | None:
    """What to say where a person refused something, and said what to do instead."""
    for result in request.tool_results:
        if found := _FEEDBACK.search(result.output):
            return texts.REFUSED.format(feedback=" ".join(found[1].split())[:300])
    return None
