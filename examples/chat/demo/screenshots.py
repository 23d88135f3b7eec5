"""`make screenshots`: pictures of the chat's main states, taken in a real browser, into docs/images.

    python -m demo.screenshots [--all] [--to FOLDER]

With `--all` it takes every state at three widths, light and dark: for who wants to look at a change.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from demo.stage import free_port, served, set_up

CHROMIUM = "/usr/bin/chromium"
WIDTHS = {"wide": (1440, 900), "tablet": (820, 1100), "phone": (390, 844)}
THEMES = ("light", "dark")
SHOWN = (
    ("home", "wide", "light"),
    ("ask", "wide", "light"),
    ("mended", "wide", "dark"),
    ("question", "wide", "light"),
    ("agent", "wide", "dark"),
    ("failed", "wide", "light"),
    ("mended", "phone", "light"),
    ("question", "phone", "dark"),
    ("list", "phone", "light"),
)
COLOURS = 256
BUSY = 'opencode-turn:is([status="pending"], [status="streaming"])'


def main() -> int:
    """Take them; the exit code comes back."""
    asked = _arguments()
    asked.to.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="chat-") as folder,
        set_up(Path(folder), offline=True, pace=0.02),
    ):
        from chat.door import link_for  # noqa: PLC0415 - not before Django is set up

        port = free_port(0)
        link = f"http://127.0.0.1:{port}{link_for('ada')}"
        with served(port), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            _take(browser, link, asked)
            browser.close()
    return 0


def _take(browser: Browser, link: str, asked: argparse.Namespace) -> None:
    with _page(browser, "wide", "light") as page:
        page.goto(link)
        cookies = page.context.storage_state()
        places = _act(page)
    wanted = [(state, width, theme) for state in places for width in WIDTHS for theme in THEMES]
    for state, width, theme in wanted if asked.all else SHOWN:
        if asked.only and state not in asked.only:
            continue
        with _page(browser, width, theme, storage_state=cookies) as page:
            if state == "streaming":
                _begin(page, "Tell it at length", places["home"])
                page.wait_for_selector(".oc-prose td")
            else:
                page.goto(places[state])
            if state == "list" and width != "wide":
                page.get_by_role("button", name="Conversations").click()
            _arrange(page, state)
            _save(page.screenshot(), asked.to / f"chat-{state}-{width}-{theme}.png")
            if state == "streaming":
                page.keyboard.press("Escape")
                page.wait_for_selector(BUSY, state="detached")


def _act(page: Page) -> dict[str, str]:
    """Play the scenes; where each is to be seen comes back."""
    home = page.url
    places = {"home": home}
    places["look"] = _begin(page, "Look around", home)
    _settle(page)
    places["mended"] = _begin(page, "Mend a bug", home)
    for _ in range(2):
        page.get_by_role("button", name="Allow once").click()
        page.wait_for_selector(".oc-ask", state="detached")
    _settle(page)
    places["failed"] = _begin(page, "Have a bad day", home)
    _settle(page)
    places["agent"] = _begin(page, "Get a second opinion", home)
    _settle(page)
    places["question"] = _begin(page, "Plan the specials", home)
    page.wait_for_selector(".oc-ask")
    places["ask"] = _begin(page, "Mend a bug", home)
    page.wait_for_selector(".oc-ask")
    return {**places, "streaming": home, "list": places["mended"]}


def _begin(page: Page, title: str, home: str) -> str:
    page.goto(home)
    page.get_by_role("button", name=title).click()
    page.wait_for_url("**/c/*/")
    return page.url


def _settle(page: Page) -> None:
    page.wait_for_selector(BUSY, state="detached", timeout=60_000)


def _arrange(page: Page, state: str) -> None:
    """Let each picture show what it is about."""
    page.wait_for_timeout(400)
    if state == "agent":
        page.locator(".oc-card[data-kind=agent] > summary, .oc-card[data-tool=task] > summary").first.click()
    if state == "mended":
        page.locator(".oc-card[data-kind=command] > summary").last.click()
    page.wait_for_timeout(300)


@contextmanager
def _page(browser: Browser, width: str, theme: str, **options: Any) -> Iterator[Page]:
    wide, high = WIDTHS[width]
    context = browser.new_context(
        viewport={"width": wide, "height": high},
        color_scheme=theme,  # type: ignore[arg-type]  # it is one of the two
        reduced_motion="reduce",
        **options,
    )
    page = context.new_page()
    page.on("console", lambda said: said.type == "error" and print("browser:", said.text))
    page.on("pageerror", lambda error: print("browser:", error))
    yield page
    context.close()


def _save(png: bytes, path: Path) -> None:
    """With a palette, which halves the file and is not seen."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} kB", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo.screenshots", description="Pictures of the chat.")
    parser.add_argument("--all", action="store_true", help="every state, at three widths, light and dark")
    parser.add_argument("--only", nargs="*", metavar="STATE", help="of these states only")
    parser.add_argument("--to", type=Path, default=Path("docs/images"), help="the folder")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
