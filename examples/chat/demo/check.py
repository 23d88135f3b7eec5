"""`make demo ARGS=--check`: has the chat a conversation, from the link to log in to the bill? As a browser would."""

from __future__ import annotations

import re
import time
from collections import Counter

from chat.door import link_for
from chat.suggestions import SUGGESTIONS

from demo.browsing import Browser, Page
from demo.stage import Stage, served

__all__ = ["check"]

STRANGER = "stranger"
PATIENCE = 30.0
LOOK = 0.2

_DOWNLOAD = re.compile(r'<a href="([^"]+)" download rel="nofollow">([^<]+)</a>')


def check(stage: Stage, port: int) -> int:
    """Have a conversation, tell what was seen; 0 if all of it was as it should be, else 1."""
    address = f"http://127.0.0.1:{port}"
    print(f"{stage.server}, {stage.answered_by}; the chat at {address}")
    try:
        with served(port), Browser(address) as browser, Browser(address) as stranger:
            _converse(browser)
            _refuse(stranger, browser.get("/"))
    except Exception as error:  # noqa: BLE001 - whatever it was, it is told, and is the end
        print(f"✗ {type(error).__name__}: {error}")
        return 1
    print("all is well")
    return 0


def _converse(browser: Browser) -> None:
    home = browser.get(link_for("demo"))
    _expect("the link logs in", "What shall we do?" in home.html)
    _expect("it says that a scripted model answers", "A scripted model answers" in home.html)
    prompt = next(each.prompt for each in SUGGESTIONS if each.title == "Mend a bug")
    page = browser.send(home.form("/begin/"), prompt=prompt)
    _expect("a conversation begins", len(page.turns) == 1, page.url)

    seen: Counter[str] = Counter()
    answered: set[str] = set()
    state: dict[str, object] = {}
    for name, data in browser.follow(page.turns[0]):
        seen[name] += 1
        for ask in data.get("asks", ()):
            if ask["id"] not in answered:
                answered.add(ask["id"])
                browser.send(browser.get(page.url).form("/answer"), answer="once")
                print(f"  allowed once: {ask['id']}")
        state = data if name == "state" else state
    _expect("the answer streams", seen["part"] > 1 and seen["end"] == 1, f"{dict(seen)}")
    _expect("it asked before it changed and ran something", len(answered) == 2, f"{len(answered)} asks")  # noqa: PLR2004
    _expect(
        "it is completed",
        state.get("status") == "completed",
        str(state.get("error_html") or state.get("status")),
    )

    page = browser.get(page.url)
    _expect("the page shows it after a reload", "tests pass" in page.html and "oc-diff" in page.html)
    _expect("it has a price", "tokens" in page.html and "$0.0" in page.html)
    files = _files(browser, page.turns[0]["src"].removesuffix("events") + "files")
    _expect("the file that it changed is listed below the answer", "cart.py" in files)
    _expect("the file is mended", "line.price * line.count" in browser.get(files["cart.py"]).html)


def _files(browser: Browser, listed: str) -> dict[str, str]:
    """The addresses of an answer's files by their names, once they are collected."""
    deadline = time.monotonic() + PATIENCE
    while "data-oc-due" in (page := browser.get(listed)).html and time.monotonic() < deadline:
        time.sleep(LOOK)
    return {path.rpartition("/")[2]: address for address, path in _DOWNLOAD.findall(page.html)}


def _refuse(stranger: Browser, page: Page) -> None:
    stranger.get(link_for(STRANGER))
    turn = next(link for link in page.html.split('"') if link.startswith("/c/"))
    _expect("somebody else sees nothing of it", stranger.status(turn) == 404, turn)  # noqa: PLR2004 - not found


def _expect(what: str, is_so: bool, told: str = "") -> None:  # noqa: FBT001 - it is what the sentence is about
    if not is_so:
        raise AssertionError(f"{what}: no. {told}".strip())
    print(f"✓ {what}" + (f" ({told})" if told else ""), flush=True)
