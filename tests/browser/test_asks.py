from __future__ import annotations

import pytest
from fix_django_app import wait_until
from playwright.sync_api import expect

from opencode_sessions.testing import Call, Step


def run(command):
    return Call("bash", {"command": command, "description": "As I was told"})


def question(**changes):
    asked = {
        "header": "Bread",
        "question": "Which bread shall it be?",
        "options": [
            {"label": "Rye", "description": "Dark"},
            {"label": "Wheat", "description": "Light"},
        ],
    }
    return Call("question", {"questions": [{**asked, **changes}]})


@pytest.fixture
def begun(tab, scenes):
    """Call it with the tools to call: the scene, in a conversation that has come to its first ask."""

    def begin(*steps):
        scene = scenes.add(*(Step(calls=(call,)) for call in steps), Step(say="That was all."))
        tab.begin(scene.prompt)
        expect(tab.ask).to_be_visible()
        return scene

    return begin


@pytest.mark.lines(full="v2")
def test_allowed_once_the_command_runs(stage, tab, begun):
    begun(run("echo baked > allowed.txt"))
    expect(tab.ask).to_contain_text("echo baked > allowed.txt")
    assert not (stage.work / "allowed.txt").exists()
    tab.button("Allow once").click()
    expect(tab.ask).to_be_hidden()
    tab.ends()
    assert (stage.work / "allowed.txt").read_text() == "baked\n"


def test_refused_with_a_reason_it_does_not_run_and_the_agent_hears_why(stage, tab, begun):
    scene = begun(run("touch refused.txt"))
    tab.ask.get_by_text("Refuse, and say what to do instead").click()
    tab.ask.get_by_label("A word to the agent").fill("Bake it in the morning.")
    tab.button("Refuse with this").click()
    expect(tab.ask).to_be_hidden()
    tab.ends()
    tab.shows("That was all.")
    assert not (stage.work / "refused.txt").exists()
    assert "Bake it in the morning." in scene.heard[0]


@pytest.mark.lines
@pytest.mark.full
def test_refused_without_a_word_it_does_not_run(stage, tab, begun):
    begun(run("touch plainly-refused.txt"))
    tab.button("Refuse").click()
    expect(tab.ask).to_be_hidden()
    tab.ends("failed")
    expect(tab.part("tool")).to_contain_text("refused")
    expect(tab.turn).to_contain_text("what it asked for was refused")
    expect(tab.turn.get_by_role("alert")).to_have_count(0)
    assert not (stage.work / "plainly-refused.txt").exists()


@pytest.mark.lines
@pytest.mark.full
def test_once_is_asked_again_and_always_is_not(stage, tab, begun):
    # No other test makes folders: what is always allowed is allowed in all conversations.
    begun(*(run(f"mkdir always-{number}") for number in range(4)))
    tab.button("Allow once").click()
    expect(tab.ask).to_contain_text("always-1")
    expect(tab.ask).to_contain_text("“Always” also allows mkdir *, for everybody who works in this folder")
    tab.button("Always allow").click()
    tab.ends()
    assert all((stage.work / f"always-{number}").is_dir() for number in range(4))


@pytest.mark.lines(full="v2")
def test_of_a_question_an_option_is_chosen(tab, begun):
    scene = begun(question())
    tab.ask.get_by_label("Rye").check()
    tab.button("Answer").click()
    tab.ends()
    assert '"Rye"' in scene.heard[0]
    assert "Wheat" not in scene.heard[0]


@pytest.mark.full
def test_of_a_question_several_options_are_chosen_where_it_says_so(tab, begun):
    scene = begun(question(multiple=True))
    tab.ask.get_by_label("Rye").check()
    tab.ask.get_by_label("Wheat").check()
    tab.button("Answer").click()
    tab.ends()
    assert "Rye, Wheat" in scene.heard[0]


@pytest.mark.full
def test_a_question_is_answered_in_own_words(tab, begun):
    scene = begun(question())
    tab.ask.get_by_label("Or in your own words").fill("Spelt, please")
    tab.button("Answer").click()
    tab.ends()
    assert "Spelt, please" in scene.heard[0]


@pytest.mark.full
def test_an_answer_that_says_nothing_is_sent_back_with_a_word(alice, tab, begun):
    begun(question())
    alice.expects("status of 400")
    tab.button("Answer").click()
    expect(tab.ask.get_by_role("alert")).to_contain_text("Choose an answer")
    tab.ask.get_by_label("Wheat").check()
    tab.button("Answer").click()
    tab.ends()


@pytest.mark.full
def test_a_question_that_is_dismissed_is_not_answered(tab, begun):
    begun(question())
    tab.button("Dismiss").click()
    expect(tab.ask).to_be_hidden()
    tab.ends("failed")
    expect(tab.part("tool")).to_contain_text("Not answered.")


def test_an_ask_answered_in_one_tab_goes_away_in_the_other(stage, alice, tab, begun):
    begun(run("touch in-another-tab.txt"))
    other = alice.open(tab.path)
    expect(other.ask).to_be_visible()
    tab.button("Allow once").click()
    expect(other.ask).to_be_hidden()
    for each in (tab, other):
        each.ends()
        each.shows("That was all.")
    assert (stage.work / "in-another-tab.txt").exists()


@pytest.mark.full
def test_what_is_typed_into_an_ask_survives_what_happens_beside_it(stage, tab, scenes):
    both = (run("touch first.txt"), run("touch second.txt"))
    scene = scenes.add(Step(calls=both), Step(say="That was all."))
    tab.begin(scene.prompt)
    expect(tab.ask).to_have_count(2)
    first, second = (tab.ask.filter(has_text=f"{name}.txt") for name in ("first", "second"))
    first.get_by_text("Refuse, and say what to do instead").click()
    reason = first.get_by_label("A word to the agent")
    reason.press_sequentially("Not tod")
    second.get_by_role("button", name="Allow once").evaluate("button => button.click()")
    expect(second).to_be_hidden()
    wait_until((stage.work / "second.txt").exists)
    expect(reason).to_be_focused()
    tab.page.keyboard.type("ay")
    expect(reason).to_have_value("Not today")
    first.get_by_role("button", name="Refuse with this").click()
    tab.ends()
    assert not (stage.work / "first.txt").exists()
    assert any("Not today" in heard for heard in scene.heard)


@pytest.mark.full
def test_the_list_tells_which_conversation_asks(alice, tab, begun):
    scene = begun(run("touch listed.txt"))
    other = alice.open("/")
    mine = other.page.get_by_role("link", name=scene.prompt)
    expect(mine).to_contain_text("asks you something")
    tab.button("Refuse").click()
    tab.ends("failed")
    expect(mine).not_to_contain_text("asks you something")
    other.page.reload()
    expect(mine).to_be_visible()
    expect(mine).not_to_contain_text("failed")


@pytest.mark.lines(full="v2")
def test_a_turn_that_asks_can_be_stopped(stage, tab, begun):
    begun(run("touch stopped.txt"))
    tab.stop.click()
    tab.ends("cancelled")
    expect(tab.ask).to_be_hidden()
    assert not (stage.work / "stopped.txt").exists()
