"""A picture that a tool returned is seen in the chat, under its Content Security Policy, live and after a reload."""

from __future__ import annotations

import json

import pytest
from pictures import png

LOADED = "each => each.complete && each.naturalWidth"


@pytest.mark.full
def test_pictures_of_a_tool_are_seen_while_the_turn_runs_and_after_a_reload(tab, stage):
    calls = ""
    for name, size in (("small.png", 20), ("large.png", 200)):
        (stage.work / name).write_bytes(png(size, size))
        calls += f"!tool read {json.dumps({'filePath': str(stage.work / name)})}\n"
    tab.begin(f"{calls}!say seen")
    tab.ends()
    for _ in range(2):
        pictures = tab.page.locator(".oc-picture img")
        assert pictures.count() == 2
        for picture, size in zip(pictures.all(), (20, 200), strict=True):
            picture.scroll_into_view_if_needed()
            tab.page.wait_for_function(LOADED, arg=picture.element_handle())
            assert picture.evaluate(LOADED) == size
        tab.page.reload()
