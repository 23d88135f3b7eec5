"""An app on several machines: its web processes, its queue's workers, database, broker and two OpenCode servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg
from fix_postgres import running_postgres
from fix_queues import FILES, QUEUES
from fix_valkey import running_valkey
from sqlalchemy import create_engine

from chaos import prompts
from chaos.host import MACHINE_DEADLINES, Base
from chaos.machines import SWITCH, Network
from chaos.plan import BUILT_IN, MACHINES
from opencode_sessions import Client, OpencodeServer
from opencode_sessions.testing import DEFAULT_RULE, Rule, ScriptedModel

SLOTS = "4"
_HERE = Path(__file__).parent
# Recovery looks often, and a job is not believed to be in the queue for long: a round is short.
_REWRITTEN = (
    ("lambda: opencode", "lambda: opencode, pending_lease=15.0"),
    ("import settings", "import notifier, settings"),
    ("dispatcher=turns)", "dispatcher=turns, notifier=notifier)"),
    ("turns=8", f"turns={SLOTS}"),
)
_LOOKS_OFTEN = ("pending_lease=15.0", "pending_lease=15.0, recover_every=3")
_REACH = "connect_timeout=3&tcp_user_timeout=8000&keepalives_idle=4&keepalives_interval=2&keepalives_count=2"


@dataclass
class _Slot:
    """A process that is to run on a machine."""

    name: str
    machine: str
    command: list
    environ: dict = field(default_factory=dict)
    process: subprocess.Popen | None = None
    starts_at: float = 0.0


class Site:
    """All of it, for the length of a `with`; a `Stage` for rounds on machines.

    Attributes:
        servers: The real ones by name; each may be killed and restarted.
        clients: To them.
        engines: Of the database.
        artifacts: None: the app keeps no files.
        asked: What the model was asked: (when, its place, the prompt's tag).
        deaths: Of a server, by its name: (from, until).
        lease: Seconds that a runner's lease lasts.
    """

    lease = MACHINE_DEADLINES.lease
    artifacts = None

    def __init__(self, seed, queue):
        self._random = Random(f"{seed}/site")  # noqa: S311 - it is to be repeatable
        self.queue = queue
        self.module = "built_in_app" if queue == BUILT_IN else QUEUES[queue].app
        self._running = ExitStack()
        self._lock = threading.RLock()
        self._slots = {}
        self._over = threading.Event()
        self.asked, self.ended = [], []
        self.deaths = {}

    def __enter__(self):
        enter = self._running.enter_context
        try:
            self.folder = Path(enter(tempfile.TemporaryDirectory(prefix="chaos-")))
            self.logs = self.folder / "logs"
            self.logs.mkdir()
            self.network = Network(MACHINES)
            rules = [Rule(when=self._note, reply=DEFAULT_RULE.reply), DEFAULT_RULE]
            model = enter(ScriptedModel(rules, hostname=SWITCH))
            with self._machine("database").inside():
                self.postgres = enter(running_postgres(self._machine("database").address))
            # A commit that a crash may undo would undo what the library promises with it.
            self._execute("ALTER DATABASE postgres SET synchronous_commit TO on")
            with self._machine("broker").inside():
                address = self._machine("broker").address
                self.brokers = {name: enter(running_valkey(address)) for name in ("broker", "notifier")}
            self.servers = {
                name.removeprefix("server "): self._served(name, model)
                for name in MACHINES
                if name.startswith("server ")
            }
            self.clients = {
                name: enter(Client(server.url, password=server.password))
                for name, server in self.servers.items()
            }
            self.deaths = {name: [] for name in self.servers}
            url = self.postgres.url("psycopg")
            self.engines = {"postgresql": create_engine(url, pool_pre_ping=True)}
            self._running.callback(self.engines["postgresql"].dispose)
            Base.metadata.create_all(self.engines["postgresql"])
            self._app()
            self._running.callback(self._end)
            threading.Thread(target=self._supervise, name="chaos supervisor", daemon=True).start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_):
        self._running.close()

    def _machine(self, name):
        return self.network.machines[name]

    def _served(self, name, model):
        machine = self._machine(name)
        with machine.inside():
            return self._running.enter_context(
                OpencodeServer(
                    config=model.config(), models={}, startup_timeout=240.0, hostname=machine.address
                )
            )

    # -- the app ---------------------------------------------------------------------------------

    def _app(self):
        """Write its files, make the queue's tables, and start what is no web process."""
        folder = self.folder / "app"
        shutil.copytree(_HERE / "app", folder)
        for name, text in FILES.items():
            if name.endswith("_app.py"):
                for old, new in (*_REWRITTEN, *([] if "dramatiq" in name else [_LOOKS_OFTEN])):
                    text = text.replace(old, new)  # noqa: PLW2901 - step by step
                (folder / name).write_text(text)
        reach = {
            name: {"url": server.url, "password": server.password} for name, server in self.servers.items()
        }
        self._environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), *sys.path])),
            "DATABASE_URL": f"{self.postgres.url('psycopg')}?{_REACH}",
            "BROKER_URL": f"{self.brokers['broker'].url}/0",
            "NOTIFIER_URL": f"{self.brokers['notifier'].url}/0",
            "SERVERS": json.dumps(reach),
            "NOTES": str(self.folder / "notes"),
            "LOG": str(self.logs / "library"),
        }
        (self.folder / "notes").touch()
        if self.queue == BUILT_IN:
            worker, recovery, schema = ["built_in_app.py"], None, None
        else:
            queue = QUEUES[self.queue]
            worker = [each.format(slots=SLOTS) for each in (*queue.worker, *queue.ending)]
            recovery, schema = queue.recovery, queue.schema
        if schema:
            environ = {**self._environ, "WHO": "schema"}
            subprocess.run([sys.executable, *schema], cwd=folder, env=environ, check=True, timeout=150)
        for number in range(2):
            self.run(f"worker {number}", f"worker {number}", worker, self._clock())
        if recovery:
            self.run("recovery", "web 0", list(recovery))

    def _clock(self):
        """The environment of a process whose clock is off: any two agree within the two seconds that docs ask for."""
        return {"CLOCK_OFFSET": f"{self._random.uniform(-0.95, 0.95):.2f}"}

    # -- its processes ---------------------------------------------------------------------------

    def run(self, name, machine, arguments, environ=None):
        """Have a process of Python's in this slot, until it is told to end or ends well."""
        with self._lock:
            slot = _Slot(name, machine, [sys.executable, *arguments], environ or {})
            self._slots[name] = slot
            self._start(slot)

    def kill(self, name, *, replaced_after):
        """SIGKILL, with all that it started; after so many seconds it runs again. False if it had ended by itself."""
        with self._lock:
            slot = self._slots.get(name)
            if slot is None or slot.process is None:
                return False
            slot.starts_at = time.monotonic() + replaced_after
            self._kill(slot)
        return True

    def forget(self, name):
        """End it, and do not start it again; was it running?"""
        with self._lock:
            slot = self._slots.pop(name, None)
            return slot is not None and self._kill(slot)

    def runs(self, name):
        """Has the process in this slot something to do still?"""
        with self._lock:
            return name in self._slots

    def describe(self, name):
        """Have a web process write into its log where its threads are."""
        with self._lock, suppress(KeyError, AttributeError):
            self._slots[name].process.send_signal(signal.SIGUSR1)
        time.sleep(1)

    def _start(self, slot):
        log = self.logs / slot.name.replace(" ", "-")
        with self._machine(slot.machine).inside(), log.open("ab") as output:
            slot.process = subprocess.Popen(
                slot.command,
                cwd=self.folder / "app",
                env={**self._environ, "WHO": slot.name, **slot.environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _kill(self, slot):
        if slot.process is None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(slot.process.pid, signal.SIGKILL)
        slot.process.wait()
        slot.process = None
        return True

    def _supervise(self):
        """Start again what was killed or has failed, as systemd does."""
        while not self._over.wait(0.1):
            with self._lock:
                for slot in list(self._slots.values()):
                    if slot.process is not None and (code := slot.process.poll()) is not None:
                        self._kill(slot)
                        if code == 0 and slot.name.startswith("web "):
                            del self._slots[slot.name]
                            continue
                        self.ended.append((slot.name, code))
                        slot.starts_at = time.monotonic() + 0.5
                    if slot.process is None and slot.starts_at <= time.monotonic():
                        self._start(slot)

    def _end(self):
        self._over.set()
        self.network.heal()
        for name in list(self._slots):
            self.forget(name)

    # -- what goes wrong -------------------------------------------------------------------------

    def strike_line(self, fault, stop):
        machine, how = self._machine(fault.how["machine"]), fault.how
        if fault.kind == "narrow":
            machine.narrow(how["kilobits"])
            stop.wait(how["lasting"])
            machine.widen()
        else:
            machine.lose(arriving=how["arriving"], leaving=how["leaving"])
            stop.wait(how["lasting"])
            machine.heal_line()

    def stop_machine(self, machine, lasting, stop):
        self._machine(machine).stop()
        stop.wait(lasting)
        self._machine(machine).go_on()

    def kill_server(self, name, lasting, stop):
        died = time.monotonic()
        self.servers[name].kill()
        stop.wait(lasting)
        with self._machine(f"server {name}").inside():
            self.servers[name].restart()
        self.deaths[name].append((died, time.monotonic()))

    def strike_broker(self, fault, stop):
        """SIGKILL it, and it forgets what it held; or cut all lines to it."""
        machine, broker = self._machine("broker"), self.brokers[fault.how["name"]]
        if fault.kind == "cut":
            machine.lose(arriving=100, leaving=0, port=broker.port)
            stop.wait(fault.how["lasting"])
            machine.heal_line()
            return
        broker.kill()
        stop.wait(fault.how["lasting"])
        with machine.inside():
            broker.start()

    def crash_database(self, lasting, stop):
        """SIGKILL one of PostgreSQL's processes: all end, and it recovers; nobody gets in for so many seconds."""
        machine = self._machine("database")
        with machine.inside(), psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
            machine.lose(arriving=100, leaving=0, port=self.postgres.port)
            os.kill(pid, signal.SIGKILL)
        stop.wait(lasting)
        machine.heal_line()

    def heal(self):
        """Everything is there again."""
        self.network.heal()
        with self._lock:
            for slot in self._slots.values():
                slot.starts_at = 0.0
        while True:
            try:
                self._execute("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return

    # -- what is seen ----------------------------------------------------------------------------

    def ran(self):
        """How often each command ran, by its tag."""
        found = [server.directory / prompts.RAN for server in self.servers.values()]
        return Counter(tag for file in found if file.exists() for tag in file.read_text().split())

    def _execute(self, statement):
        with psycopg.connect(self.postgres.url(), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)

    def _note(self, request):
        if not request.is_title:
            self.asked.append((time.monotonic(), request.place, prompts.tag_of(request.prompt)))
        return False
