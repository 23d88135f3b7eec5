"""The React pages of the examples, built by Vite, in Chromium: a person allows, stops, reloads, and sees it all."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from fix_browser import PATIENCE
from fix_fastapi import Served
from fix_programs import find_program
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "react"
NODE = ROOT / ".state" / "node-bin"
BASH = '!tool bash {"command": "echo bread", "description": "As I was told"}\n!say All done.'
FRUIT = {
    "header": "Fruit",
    "question": "Which fruit?",
    "options": [{"label": "Pear", "description": "green"}],
}
QUESTION = f"!tool question {json.dumps({'questions': [FRUIT]})}\n!say Well chosen."
LONG = "!slow 0.05\n!say one two three four five six"

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def pages(server, tmp_path_factory):
    """The address of the pages."""
    folder = tmp_path_factory.mktemp("react")
    vite = [
        find_program("node", besides=str(NODE)),
        ROOT / "node_modules" / "vite" / "bin" / "vite.js",
        "build",
    ]
    options = ["--config", FOLDER / "vite.config.js", "--outDir", folder / "dist", "--emptyOutDir"]
    subprocess.run([*vite, FOLDER, *options], cwd=ROOT, check=True, capture_output=True, timeout=250)
    environ = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder}/react.sqlite3", "DIST": str(folder / "dist")}
    served = Served("app:app", FOLDER, server, environ, folder)
    try:
        served.wait_until_it_serves()
        yield served.url
    finally:
        served.end()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["vercel", "agui"])
def test_a_person_allows_answers_stops_and_reloads(pages, chromium, held, name):
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(f"{pages}/{name}.html")

    def send(text):
        page.get_by_label("Prompt").fill(text)
        page.get_by_role("button", name="Send").click()

    send(BASH)
    expect(page.get_by_role("group", name="Run echo bread")).to_be_visible()
    page.reload()  # the answer is given by a page that knows nothing but the chat's name
    page.get_by_role("button", name="Allow once").click()
    expect(page.locator(".call")).to_contain_text("bread\n")
    expect(page.get_by_text("All done.", exact=True)).to_be_visible()
    send(QUESTION)
    page.get_by_label("Which fruit?").select_option("Pear")
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_text("Well chosen.", exact=True)).to_be_visible()
    send(LONG)
    expect(page.get_by_text("one two three four", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_text("one two three four", exact=True)).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    held.set()
    page.reload()
    for text in ("^All done.$", "^Well chosen.$", "^one two three four"):
        expect(page.get_by_text(re.compile(text))).to_be_visible()
    assert troubles == []
    context.close()
