"""What is shown of a turn while it runs, to any number of people at once, and in whatever process it runs.

    events of a turn that runs here ─┐
                                     ├─► Channel ─► Feed ─► encoders ─┬─► a browser
    the row, where it runs elsewhere ┘   (one for a turn              ├─► another tab
                                          that is watched)            └─► …

One loop of a process looks at the rows of all turns that are watched in it, and a few threads render them, once for
each encoder. A browser keeps nothing but the number of the last change that it was sent, so a slow one gets the newest
of everything, and costs no memory. Where nobody watches, nothing is rendered and no row is read.

What it needs of a host is handed to `LiveHub`: its rows, and whether it waits with threads or with asyncio.
"""

from __future__ import annotations

from opencode_sessions.live.hub import LiveHub
from opencode_sessions.live.observer import LiveObserver
from opencode_sessions.live.streams import astream, ended, stream
from opencode_sessions.live.view import RenderContext
from opencode_sessions.live.watch_request import WatchRequest

__all__ = ["LiveHub", "LiveObserver", "RenderContext", "WatchRequest", "astream", "ended", "stream"]
