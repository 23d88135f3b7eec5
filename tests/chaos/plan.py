"""What happens in a round, and when: all of it drawn from the seed before anything begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from chaos import host, prompts

DATABASES = ("sqlite", "postgresql")
LANES = {
    "workers": 0.25,
    "clerk": 0.06,
    "server": 0.12,
    "wire": 0.6,
    "rows": 0.35,
    "database": 0.05,
    "storage": 0.1,
}
"""What can break, each independent of the others, and how often a second."""

BUILT_IN = "built-in"
QUEUES = ("celery", "procrastinate", "dramatiq", "taskiq", "dbos", BUILT_IN)
MACHINES = (
    "web 0",
    "web 1",
    "worker 0",
    "worker 1",
    "database",
    "server a",
    "server b",
    "broker",
)
MACHINE_LANES = {
    "lines": 0.3,
    "machines": 0.12,
    "processes": 0.2,
    "servers": 0.08,
    "brokers": 0.1,
    "database": 0.04,
}
"""The same for what runs on several machines."""

_REQUESTS = {
    "1": (
        "/prompt_async",
        "/api/session",
        "PATCH /session",
        "/abort",
        "/reply",
        "/reject",
        "/permissions/",
        "/message",
        "/session/status",
    ),
    "2": (
        "/prompt HTTP",
        "POST /api/session HTTP",
        "/instructions/",
        "/interrupt",
        "/inbox",
        "/reply",
        "/form/",
        "/permission/",
        "/message",
        "/session/active",
    ),
}
"""What is lost on the way to a server of each line and back; the first is the prompt."""

LINES = tuple(_REQUESTS)
_STATEMENTS = ("UPDATE messages", "UPDATE conversations", "COMMIT", "SELECT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much happens in a round."""

    records: int = 4
    messages: int = 3
    workers: int = 3
    seconds: float = 15.0
    line: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One message to be: where, what, and who answers its agent. `workers` run it; at `cancel` it is cancelled."""

    database: str
    record: int
    tag: str
    prompt: str
    person: str
    workers: tuple[int, ...]
    cancel: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, so many seconds after the start."""

    at: float
    lane: str
    kind: str
    how: dict = field(default_factory=dict)

    def __str__(self):
        how = " ".join(f"{name}={value}" for name, value in self.how.items())
        return f"{self.at:6.2f} s  {self.lane:8} {self.kind} {how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A round. Equal seeds and sizes give equal plans; a lane that is left out changes nothing in the others."""

    seed: int
    number: int
    size: Size
    asked: tuple[Asked, ...]
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, seed, number, size, lanes=tuple(LANES), databases=DATABASES):
        faults = [fault for lane in lanes for fault in _faults(_random(seed, number, lane), lane, size)]
        return cls(
            seed=seed,
            number=number,
            size=size,
            asked=tuple(_asked(_random(seed, number, "asked"), seed, number, size, databases)),
            faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        )

    def lane(self, name):
        return [fault for fault in self.faults if fault.lane == name]


def _random(*what):
    return Random("/".join(map(str, what)))  # noqa: S311 - it is to be repeatable


def _asked(random, seed, number, size, databases):
    for record in range(size.records):
        for place in range(size.messages):
            tag = f"s{seed}r{number}c{record}m{place}"
            yield Asked(
                database=databases[record % len(databases)],
                record=record,
                tag=tag,
                prompt=prompts.prompt(random, tag),
                person=random.choice(host.PEOPLE),
                workers=tuple(
                    random.sample(range(size.workers), min(random.choice((1, 1, 1, 2)), size.workers))
                ),
                cancel=random.uniform(0, size.seconds) if random.random() < 0.2 else None,
            )


def _faults(random, lane, size):
    at = 0.0
    while (at := at + 0.2 + random.expovariate({**LANES, **MACHINE_LANES}[lane])) < size.seconds:
        kind, how = _DRAWS[lane](random, size)
        yield Fault(at=round(at, 3), lane=lane, kind=kind, how=how)


def _worker(random, size):
    return "kill", {
        "who": random.randrange(size.workers + 1),
        "replaced_after": random.choice((0.0, 0.5, 3.0)),
    }


def _clerk(random, size):
    return "kill", {"replaced_after": random.choice((0.0, 0.5, 3.0))}


def _server(random, size):
    return random.choice(("kill", "kill", "restart")), {"lasting": round(random.uniform(0, 3), 2)}


def _database(random, size):
    return "crash", {"lasting": round(random.uniform(0, 2), 2)}


def _storage(random, size):
    return "away", {"lasting": round(random.uniform(0.5, 4), 2)}


def _wire(random, size):
    requests = _REQUESTS[size.line]
    return _cable(random, (*requests, "/event"), requests)


def _rows(random, size):
    return _cable(random, _STATEMENTS, _STATEMENTS)


def _cable(random, cut_at, answers):
    direction, lasting = random.choice(("up", "down")), round(random.uniform(0.3, 5), 2)
    return random.choice(
        (
            ("cut", {"reset": random.random() < 0.5}),
            (
                "cut_after",
                {
                    "count": int(2 ** random.uniform(0, 13)),
                    "direction": direction,
                    "matching": random.choice((None, *cut_at)),
                },
            ),
            ("half_close", {"direction": direction}),
            ("delay", {"seconds": round(random.uniform(0.02, 0.4), 2), "lasting": lasting}),
            ("slow", {"bytes_per_second": random.randrange(500, 20_000), "lasting": lasting}),
            ("stall", {"direction": random.choice((direction, None)), "lasting": lasting}),
            ("refuse", {"lasting": round(lasting / 2, 2)}),
            ("drop_answer", {"matching": random.choice(answers)}),
            ("drop_answer", {"matching": answers[0]}),
            ("cut_after", {"count": 0, "direction": "up", "matching": random.choice(answers)}),
        )
    )


def _lasting(random):
    """Mostly for a moment; sometimes for longer than a lease."""
    lease = host.MACHINE_DEADLINES.lease
    return round(random.uniform(*random.choice(((0.3, 4), (0.3, 4), (lease + 1, lease + 4)))), 2)


def _lines(random, size):
    machine, lasting = random.choice(MACHINES), _lasting(random)
    lost = random.choice(((100, 100), (100, 100), (100, 0), (0, 100), (40, 0), (0, 40), (20, 20)))
    return random.choice(
        (
            ("lose", {"machine": machine, "arriving": lost[0], "leaving": lost[1], "lasting": lasting}),
            ("lose", {"machine": machine, "arriving": lost[0], "leaving": lost[1], "lasting": lasting}),
            ("narrow", {"machine": machine, "kilobits": random.choice((64, 128, 400)), "lasting": lasting}),
        )
    )


def _machines(random, size):
    return "stop", {"machine": random.choice(MACHINES), "lasting": _lasting(random)}


def _processes(random, size):
    return "kill", {
        "name": random.choice(("worker 0", "worker 1", "worker 0", "worker 1", "web 0", "web 1", "recovery")),
        "replaced_after": random.choice((0.0, 1.0, 4.0)),
    }


def _servers(random, size):
    return "kill", {"name": random.choice("ab"), "lasting": round(random.uniform(0, 4), 2)}


def _brokers(random, size):
    kind, name = random.choice((("kill", "broker"), ("kill", "notifier"), ("cut", "notifier")))
    return kind, {"name": name, "lasting": round(random.uniform(0, 4), 2)}


_DRAWS = {
    "lines": _lines,
    "machines": _machines,
    "processes": _processes,
    "servers": _servers,
    "brokers": _brokers,
    "workers": _worker,
    "clerk": _clerk,
    "server": _server,
    "wire": _wire,
    "rows": _rows,
    "database": _database,
    "storage": _storage,
}
