"""Files in the chat: chosen, dropped and pasted, sent with a prompt; and those that the agent makes."""

from __future__ import annotations

import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing.stage import Stage
from browsing.visitor import Visitor
from fix_browser import PATIENCE
from playwright.sync_api import expect

PHONE = {"width": 390, "height": 844}

DROP = """(area, [kind, name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name, { type: "text/plain" }));
  const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  area.dispatchEvent(event);
}"""


def file(name, content):
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def attached(tab):
    return tab.page.get_by_label("Files to send").get_by_role("listitem")


def attach_three(tab):
    tab.page.get_by_label("Attach files").set_input_files([file("days.csv", b"day,city\n1,Rome\n")])
    for kind, name in (("dragover", "over.txt"), ("drop", "dropped.txt"), ("paste", "pasted.txt")):
        tab.prompt.evaluate(DROP, [kind, name, f"it was {name}"])
    expect(attached(tab)).to_have_text(["days.csv×", "dropped.txt×", "pasted.txt×"])
    tab.button("Remove dropped.txt").click()
    expect(attached(tab)).to_have_count(2)


def test_files_are_chosen_dropped_and_pasted_sent_with_a_prompt_and_the_agent_reads_them(tab, stage):
    attach_three(tab)
    tab.begin("Read what I sent")
    tab.ends()
    sent = tab.turn.get_by_role("group", name="Files that were sent")
    expect(sent.get_by_role("link", name="days.csv")).to_be_visible()
    expect(sent.get_by_role("link", name="pasted.txt")).to_be_visible()
    assert next(stage.work.glob("uploads/*-pasted.txt")).read_text() == "it was pasted.txt"
    path = next(stage.work.glob("uploads/*-days.csv"))
    tab.shows(f'"{path}", which the user calls "days.csv"')  # the scripted model says what it is told
    sent.get_by_label("Preview of days.csv").click()
    expect(sent.get_by_role("cell", name="Rome")).to_be_visible()
    with tab.page.expect_download() as download:
        sent.get_by_role("link", name="days.csv").click()
    assert download.value.suggested_filename == "days.csv"

    tab.page.get_by_label("Attach files").set_input_files([file("tool.txt", b"\x7fELF" + bytes(99))])
    tab.visitor.expects("status of 415")
    tab.say("And this?")
    expect(tab.page.get_by_role("alert")).to_contain_text("“tool.txt” is of a type that is not taken here")
    expect(tab.prompt).to_have_value("And this?")
    expect(attached(tab)).to_have_count(1)
    tab.button("Remove tool.txt").click()
    tab.prompt.press("Enter")
    tab.ends()
    expect(tab.turns).to_have_count(2)


@pytest.mark.full
def test_how_much_has_been_sent_is_shown(tab, stage, chromium):
    tab.page.get_by_label("Attach files").set_input_files([file("big.txt", b"x" * 20_000_000)])
    seen = []
    tab.page.expose_function("seen", lambda share: seen.append(share))  # noqa: PLW0108 - no method of a list's
    tab.page.evaluate(
        """() => { const bar = document.querySelector("[data-progress]");
        new MutationObserver(() => bar.hidden || seen(bar.value)).observe(bar, { attributes: true }); }"""
    )
    tab.begin("A large one")
    tab.ends()
    assert seen
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= 1


@pytest.mark.full
def test_without_scripts_files_go_with_the_form(visit, stage):
    tab = visit("alice", java_script_enabled=False).open()
    tab.page.get_by_label("Attach files").set_input_files([file("days.csv", b"day\n")])
    tab.prompt.fill("Read it")
    tab.button("Send").click()
    tab.reload_until(tab.page.get_by_text("which the user calls"))
    expect(tab.turn.get_by_role("link", name="days.csv", exact=True)).to_be_visible()


@pytest.fixture(scope="module")
def sandboxed(chromium_binary, tmp_path_factory):
    """The chat with a folder for each conversation, whose files are kept."""
    folder = tmp_path_factory.mktemp("sandboxed")
    stage = Stage(folder, sandbox=folder / "agents").start()
    yield stage
    stage.stop()


def write(name, content):
    return "!tool write " + json.dumps({"filePath": name, "content": content})


def allow(tab, times):
    for _ in range(times):
        ask = tab.page.locator(".oc-ask").get_attribute("data-ask")
        tab.button("Allow once").click()
        expect(tab.page.locator(f'[data-ask="{ask}"]')).to_have_count(0)  # the next one may be there already
    tab.ends()


@pytest.mark.full
def test_what_the_agent_made_is_listed_previewed_compared_and_downloaded(sandboxed, chromium):
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    context.request.get(sandboxed.url + sandboxed.links["alice"])
    visitor = Visitor(context, sandboxed)
    tab = visitor.open()
    tab.page.get_by_label("Attach files").set_input_files([file("days.csv", b"day\n")])
    tab.begin("hello")
    tab.ends()
    first_page = tab.page.url
    (folder,) = (sandboxed._folder / "agents" / "folders").iterdir()
    assert next(folder.glob("uploads/*-days.csv")).read_bytes() == b"day\n"
    expect(tab.turn.get_by_role("group", name="Files that were sent")).to_be_visible()
    expect(tab.turn.get_by_role("group", name="Files of this answer")).to_have_count(0)
    page = "<script>document.title = 'evil'</script>"
    lines = [write("plan.md", "# Rome"), write("page.html", page), "!say made"]
    tab.say("\n".join(lines))
    allow(tab, 2)
    files = tab.turn.get_by_role("group", name="Files of this answer")
    expect(files.get_by_role("listitem")).to_have_count(2)
    tab.say("\n".join([write("plan.md", "# Lisbon"), "!say again"]))
    allow(tab, 1)
    expect(files.get_by_role("link", name="plan.md", exact=True)).to_be_visible()
    files.get_by_label("Changes in plan.md").click()
    expect(files.locator(".oc-diff__line--remove")).to_contain_text("# Rome")
    expect(files.locator(".oc-diff__line--add")).to_contain_text("# Lisbon")
    files.get_by_label("Preview of plan.md").click()
    expect(files.get_by_role("heading", name="Lisbon")).to_be_visible()
    tab.page.get_by_label("Attach files").set_input_files([file("days.csv", b"day\n")])
    found = Axe().run(tab.page).response["violations"]
    assert not found, [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
    tab.page.set_viewport_size(PHONE)
    assert tab.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    tab.page.reload()
    first = tab.turns.nth(1).get_by_role("group", name="Files of this answer")
    first.get_by_label("Preview of page.html").click()
    expect(first.get_by_text(page)).to_be_visible()
    with tab.page.expect_download() as download:
        first.get_by_role("link", name="Download all of them").click()
    assert download.value.suggested_filename == "files.zip"
    assert "evil" not in tab.page.title()
    tab.open_edit(tab.turn).fill("What is in the plan now?")
    tab.turn.get_by_role("button", name="Send", exact=True).click()
    tab.page.wait_for_url(lambda url: url != first_page)
    tab.ends()
    branch = next(each for each in folder.parent.iterdir() if each != folder)
    assert (branch / "plan.md").read_text() == "# Lisbon"
    assert visitor.troubles == []
    context.close()
