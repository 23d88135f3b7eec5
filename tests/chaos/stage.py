"""Where it happens: the model, the server, the databases, and the lines to them, which break."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psycopg
from fix_fake_v2 import stand_in_binary
from fix_postgres import running_postgres
from sqlalchemy import create_engine

from chaos import prompts
from chaos.host import LEASE, Base, artifacts, away
from opencode_sessions import Client, OpencodeServer
from opencode_sessions.files import Sandbox
from opencode_sessions.sessions.servers import DEFAULT_SERVER
from opencode_sessions.testing import DEFAULT_RULE, FaultProxy, Rule, ScriptedModel


class Stage:
    """All of it, for the length of a `with`; rounds follow one another on it.

    Args:
        seed: Of the faults of the proxies.
        line: Which line the server is of: 1, a real one, or 2, the stand-in as a process of its own.

    Attributes:
        server: It may be killed and restarted.
        clients: To that, past the proxy, by its name.
        engines: Of the databases by kind, past the proxy.
        files: The folder of the agents, and of what is kept of their files.
        artifacts: Those of each database, past the proxy.
        asked: What the model was asked: (when, its place, the prompt's tag).
        deaths: Of the server, by its name: (from, until).
        lines: The proxies by the lane that breaks them.
        lease: Seconds that a runner's lease lasts.
    """

    lease = LEASE

    def __init__(self, seed, line="1"):
        self._seed, self._line = seed, line
        self._running = ExitStack()
        self.asked = []
        self.deaths = {DEFAULT_SERVER: []}

    def __enter__(self):
        enter = self._running.enter_context
        try:
            self.folder = Path(enter(tempfile.TemporaryDirectory(prefix="chaos-")))
            self.files = self.folder / "files"
            directory = Sandbox(self.files / "agents").server_folders
            Path(directory).mkdir(parents=True)
            rules = [Rule(when=self._note, reply=DEFAULT_RULE.reply), DEFAULT_RULE]
            model = enter(ScriptedModel(rules))
            options = {
                "config": model.config(),
                "models": {},
                "startup_timeout": 100.0,
                "directory": directory,
            }
            if self._line == "2":
                options["binary"] = stand_in_binary(self.folder)
            self.server = enter(OpencodeServer(**options))
            self.clients = {DEFAULT_SERVER: enter(Client(self.server.url, password=self.server.password))}
            self.postgres = enter(running_postgres())
            # A commit that a crash may undo would undo what the library promises with it.
            self._execute("ALTER DATABASE postgres SET synchronous_commit TO on")
            self.lines = {
                "wire": enter(FaultProxy(self.server.url, seed=self._seed)),
                "rows": enter(FaultProxy(self.postgres.url("psycopg"), seed=self._seed)),
            }
            sqlite = f"sqlite:///{self.folder / 'chaos.sqlite3'}?timeout=20"
            self.databases = {"sqlite": sqlite, "postgresql": self.lines["rows"].url}
            urls = {"sqlite": sqlite, "postgresql": self.postgres.url("psycopg")}
            self.engines = {kind: create_engine(url, pool_pre_ping=True) for kind, url in urls.items()}
            for engine in self.engines.values():
                self._running.callback(engine.dispose)
                Base.metadata.create_all(engine)
            self.artifacts = {kind: artifacts(engine, self.files) for kind, engine in self.engines.items()}
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_):
        self._running.close()

    def address(self):
        """Of the server, as processes are given it."""
        return {"base_url": self.lines["wire"].url, "password": self.server.password}

    def ran(self):
        """How often each command ran, by its tag."""
        found = self.server.directory / prompts.RAN
        return Counter(found.read_text().split()) if found.exists() else Counter()

    def end_server(self, how, lasting, stop):
        """`kill` it, and let it return after so many seconds, or `restart` it, which asks it to end first."""
        died = time.monotonic()
        if how == "kill":
            self.server.kill()
            stop.wait(lasting)
        self.server.restart()
        self.deaths[DEFAULT_SERVER].append((died, time.monotonic()))

    def crash_database(self, lasting, stop):
        """SIGKILL one of PostgreSQL's processes: all end, and it recovers; nobody gets in for so many seconds."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
            self.lines["rows"].refuse()
            os.kill(pid, signal.SIGKILL)
        stop.wait(lasting)
        self.lines["rows"].admit()

    def lose_storage(self, lasting, stop):
        """For so many seconds the bytes of artifacts can neither be stored nor read."""
        flag = away(self.files / "kept")
        flag.parent.mkdir(exist_ok=True)
        flag.touch()
        stop.wait(lasting)
        flag.unlink()

    def heal(self):
        """Everything is there again."""
        for line in self.lines.values():
            line.calm()
        while True:
            try:
                self._execute("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return

    def _execute(self, statement):
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute(statement)

    def _note(self, request):
        if not request.is_title:
            self.asked.append((time.monotonic(), request.place, prompts.tag_of(request.prompt)))
        return False


def strike(stage, fault, stop):
    """Let a fault of a line happen; what lasts ends here too."""
    line, how = stage.lines[fault.lane], dict(fault.how)
    lasting = how.pop("lasting", None)
    if isinstance(how.get("matching"), str):
        how["matching"] = how["matching"].encode()
    getattr(line, fault.kind)(**how)
    if lasting is None:
        return
    stop.wait(lasting)
    end = {
        "delay": lambda: line.delay(0),
        "slow": lambda: line.slow(None),
        "stall": line.resume,
        "refuse": line.admit,
    }
    end[fault.kind]()


class Lane(threading.Thread):
    """Lets the faults of one lane happen, each at its time, or when the one before is over."""

    def __init__(self, faults, began, happen):
        super().__init__(name=f"chaos {faults[0].lane}")
        self._faults, self._began, self._happen = faults, began, happen
        self.stop = threading.Event()
        self.happened = []
        self.failure = None

    def run(self):
        try:
            for fault in self._faults:
                if self.stop.wait(max(0.0, self._began + fault.at - time.monotonic())):
                    return
                at = time.monotonic() - self._began
                if self._happen(fault, self.stop) is not False:
                    self.happened.append((at, fault))
        except BaseException as error:  # noqa: BLE001 - raised where it is joined
            self.failure = error

    def done(self):
        self.join()
        if self.failure is not None:
            raise self.failure
        return self.happened
