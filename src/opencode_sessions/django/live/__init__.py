"""What browsers are shown of a turn while it runs: server-sent events, fed by the signals or from the row.

    signals of a turn that runs here ─┐
                                      ├─► Channel ─► Picture ─┬─► a browser
    the row, where it runs elsewhere ─┘   (one for a turn     ├─► another tab
                                           that is watched)   └─► …

One thread of a process looks at the rows of all turns that are watched in it, and a few draw them. A browser keeps
nothing but the number of the last change that it was sent, so a slow one gets the newest of everything, and costs no
memory. Where nobody watches, nothing is drawn and no row is read.
"""

from __future__ import annotations

from opencode_sessions.django.live.streams import astream, stream

__all__ = ["astream", "stream"]
