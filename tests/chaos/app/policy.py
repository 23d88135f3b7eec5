"""In the place of the documentation's: two servers, leases that run out soon, and notes of what happens to turns."""

from __future__ import annotations

import json
import logging
import os

from chaos.host import MACHINE_DEADLINES, handler, rules
from chaos.notes import Noting, note
from chaos.worker import TIMEOUTS
from opencode_sessions.host import HostSettings, Server
from opencode_sessions.live.notifiers import ValkeyNotifier

_log = logging.getLogger("opencode_sessions")
_log.setLevel(logging.DEBUG)
_written = logging.FileHandler(os.environ["LOG"])
_who = os.environ["WHO"]
_written.setFormatter(
    logging.Formatter(f"%(asctime)s.%(msecs)03d {_who} %(threadName)s %(levelname)s %(message)s", "%H:%M:%S")
)
_log.addHandler(_written)


def options(message):
    return {
        "deadlines": MACHINE_DEADLINES,
        "observer": Noting(f"postgresql:{message.id}"),
        "on_ask": handler(message.person),
    }


def swallowed(error, context):
    note("swallowed", message=context.record, action=context.action, error=repr(error)[:300])


notifier = ValkeyNotifier(os.environ["NOTIFIER_URL"])
settings = HostSettings(
    namespace="postgresql",
    servers={name: Server(**reach) for name, reach in json.loads(os.environ["SERVERS"]).items()},
    permissions_for=rules,
    turn_options=options,
    on_error=swallowed,
    timeouts=TIMEOUTS,
)
