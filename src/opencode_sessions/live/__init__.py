"""Live views of running turns, for any number of browsers, in any process.

    events of a turn that runs here ─┐
                                     ├─► Channel ─► Feed ─► encoders ─┬─► a browser
    the row, if another process runs ┘   (one for a turn              ├─► another tab
    the turn                              that is watched)            └─► …

One loop of a process reads the rows of all watched turns, and a few threads render them, once for each encoder. A
stream stores only the number of the last change that it sent. So a slow browser gets the newest state, and costs no
memory. Without watchers, no turn is rendered and no row is read.

`LiveHub` gets the rows of a host, and the way to wait: with threads or with asyncio.
"""

from __future__ import annotations

from opencode_sessions.live.hub import LiveHub
from opencode_sessions.live.observer import LiveObserver
from opencode_sessions.live.streams import astream, ended, stream
from opencode_sessions.live.view import RenderContext
from opencode_sessions.live.watch_request import WatchRequest

__all__ = ["LiveHub", "LiveObserver", "RenderContext", "WatchRequest", "astream", "ended", "stream"]
