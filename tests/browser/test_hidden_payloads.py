"""What a card hid once, and what ran then after “Allow once”: it is in sight now before anybody can say so."""

from __future__ import annotations

import re

import pytest
from fix_django_app import wait_until
from playwright.sync_api import expect
from selection import sample

from opencode_sessions.testing import Call, Step

LONG = "".join(f"echo line {number}\n" for number in range(1_000))

# Is a text laid out within the card, and nothing over it? A reader gets to it by scrolling the page.
IN_SIGHT = """(form, wanted) => {
  const walker = document.createTreeWalker(form, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const at = node.data.indexOf(wanted);
    if (at < 0) continue;
    const range = document.createRange(), place = node.parentElement;
    range.setStart(node, at);
    range.setEnd(node, at + wanted.length);
    scrollBy({ top: range.getBoundingClientRect().top - innerHeight / 2, behavior: "instant" });
    const inside = form.getBoundingClientRect();
    const shows = ({ left, right, top, bottom, width }) =>
      width > 0 && left >= inside.left && right <= inside.right &&
      place.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2));
    if ([...range.getClientRects()].every(shows)) return true;
  }
  return false;
}"""


def run(command):
    return Call("bash", {"command": command, "description": "Look around"})


def write(content):
    return Call("write", {"filePath": "notes.txt", "content": content})


def in_sight(form, text):
    return form.evaluate(IN_SIGHT, text)


@pytest.fixture(params=sample([True, False]), ids=["a script", "no script"])
def reader(request, visit):
    """A browser, and whether it runs scripts."""
    return visit("alice", java_script_enabled=request.param).open(), request.param


def asks(reader, scene):
    tab, scripts = reader
    if scripts:
        tab.begin(scene.prompt)
    else:
        tab.prompt.fill(scene.prompt)
        tab.button("Send").click()
        tab.page.wait_for_url("**/c/*/")
        tab.reload_until(tab.ask)
    expect(tab.ask).to_be_visible()
    return tab


PAYLOADS = {
    "escape": (run("echo hi \x1b]0; touch payload"), ["‹\\x1b›"]),
    "in a file": (write("one\ntwo \x1b]0;\ntouch payload\n"), ["‹\\x1b›"]),
    "lines": (run("echo hi" + "\n" * 9_001 + "touch payload"), ["‹9,000 blank lines›"]),
    "blanks": (run("echo hi" + " " * 9_000 + "; touch payload"), ["‹9,000 spaces›"]),
    "return": (write("one\rtouch payload\r# two\n"), ["‹\\r›"]),
    "lines of a file": (write("one" + "\n" * 9_001 + "touch payload\n"), ["‹9,000 blank lines›"]),
    "blanks in a file": (write("one" + " " * 9_000 + "touch payload\n"), ["‹9,000 spaces›"]),
    "width": (write("x" * 900 + "touch payload\n"), []),
    "unseen": (
        run("echo \u202e\u200b\u2028 touch payload \U000e0041"),
        ["‹\\u202e›", "‹\\u2028›", "‹\\U000e0041›"],
    ),
}


@pytest.mark.parametrize("payload", sample(PAYLOADS, "lines"))
def test_a_payload_is_in_sight_on_the_card(tab, scenes, payload):
    call, marks = PAYLOADS[payload]
    asks((tab, True), scenes.add(Step(calls=(call,)), Step(say="Done.")))
    assert in_sight(tab.ask, "touch payload")
    for mark in marks:
        expect(tab.ask.locator(".oc-escape").filter(has_text=mark).first).to_be_visible()
        assert in_sight(tab.ask, mark)
    tab.button("Refuse").click()
    tab.ends("failed")


@pytest.mark.parametrize("name", sample(["command", "file"]))
def test_what_is_too_long_is_allowed_only_where_all_of_it_stands(stage, reader, scenes, name):
    file = stage.work / f"payload-{name}"
    file.unlink(missing_ok=True)
    if name == "command":
        call, last = run(f"{LONG}touch {file.name}"), f"touch {file.name}"
        title = "Run echo line 0 … (1,001 lines)"
    else:
        call = Call("write", {"filePath": file.name, "content": f"{LONG}payload\n"})
        title, last = f"Create {file.name}", "+payload"
    tab = asks(reader, scenes.add(Step(calls=(call,)), Step(say="Done.")))
    expect(tab.ask).to_contain_text(re.compile(r"This is not all of it: 60\d more lines, \d+ kB\."))
    expect(tab.button("Allow once")).to_have_count(0)
    expect(tab.button("Always allow")).to_have_count(0)
    expect(tab.button("Refuse")).to_be_visible()
    came_from = tab.page.url
    # By key: the page may scroll beneath a pointer.
    tab.page.get_by_role("link", name="Read all of it to decide").press("Enter")
    expect(tab.page).to_have_title(title)
    form = tab.page.locator("form[data-ask]")
    expect(form).to_contain_text("echo line 999")
    expect(form).to_contain_text(last)
    if reader[1]:
        assert in_sight(form, last)
    form.get_by_role("button", name="Allow once").click()
    expect(tab.page).to_have_url(came_from)
    wait_until(file.exists)


# Once nothing else writes the row any more: the turn is parked.
CHANGE = """
import django, time
django.setup()
from chat.models import Message
message = Message.objects.get(pk={pk})
while not message.opencode_turn_parked:
    time.sleep(0.1)
    message.refresh_from_db()
asks = [{{**ask, "metadata": {{"command": "rm -rf /"}}}} for ask in message.asks]
Message.objects.filter(pk=message.pk).update(asks=asks)
"""


@pytest.mark.full
def test_an_ask_that_has_changed_is_not_allowed_and_shown_anew(stage, tab, scenes):
    asks((tab, True), scenes.add(Step(calls=(run("touch as-shown"),)), Step(say="Done.")))
    turn = tab.turn.locator("opencode-turn")
    turn.evaluate("(turn) => turn.follow(false)")  # as in a tab that is not seen
    stage.python("-c", CHANGE.format(pk=tab.turn.get_attribute("data-pk")))
    tab.visitor.expects("status of 409")
    tab.button("Allow once").click()
    expect(tab.ask.get_by_role("alert")).to_contain_text(
        "has changed since it was shown here. Look at it again."
    )
    expect(tab.ask).to_have_count(1)
    expect(tab.ask).to_contain_text("rm -rf /")
    turn.evaluate("(turn) => turn.follow(true)")
    tab.button("Refuse").click()
    tab.ends("failed")
    assert not (stage.work / "as-shown").exists()
