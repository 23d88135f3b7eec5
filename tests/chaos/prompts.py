"""What is asked: prompts that are unlike any other by their tag, and say what the scripted model is to do."""

from __future__ import annotations

import json
import re

RAN = "ran.txt"
"""Where the commands of all turns write their tags, in the server's directory."""

FOLDER = "FOLDER"
"""What stands for the folder of a record in the prompts, until there is one."""

_TAG = re.compile(r"^\[([\w.-]+)\]", re.MULTILINE)


def tag_of(text):
    """By which tag a line of a prompt begins, if it is one of these."""
    found = _TAG.search(text)
    return found and found[1]


def prompt(random, tag):
    """A prompt with this tag, of one kind or of two after another, and closing words."""
    kinds = random.sample(KINDS, random.choice((1, 1, 2)))
    lines = [line for number, kind in enumerate(kinds) for line in kind(random, f"{tag}.{number}")]
    said = " ".join(f"{tag}-{number}" for number in range(random.randint(1, 25)))
    return "\n".join([f"[{tag}] please", f"!slow {random.choice((0, 0.02, 0.1)):g}", *lines, f"!say {said}"])


def _talk(random, tag):
    return []


def _think(random, tag):
    return [f"!reason about {tag}"]


def _write(random, tag):
    return [_tool("write", filePath=f"{FOLDER}/{tag}.txt", content=tag * random.randint(1, 200))]


def _note(random, tag):
    return [_tool("todowrite", todos=[{"content": tag, "status": "pending", "priority": "low"}])]


def _run(random, tag):
    pause = random.choice((0, 0, 0.5, 2))
    command = f"sleep {pause}; echo {tag} >> {RAN}; echo {tag} > {FOLDER}/{tag}.log"
    return [_tool("bash", command=command, description="leave a trace")]


def _ask(random, tag):
    options = [{"label": label, "description": f"{label} it is"} for label in ("Rome", "Oslo")]
    return [
        _tool("question", questions=[{"question": f"Where, {tag}?", "header": "Goal", "options": options}])
    ]


def _delegate(random, tag):
    outside = _tool("read", filePath="/etc/hostname")
    written = _tool("write", filePath=f"{FOLDER}/{tag}.sub", content=tag)
    own = [f"[{tag}-sub] you too", *random.choice(([], [outside])), written, f"!say {tag} is done"]
    return [_tool("task", description=tag, subagent_type="general", prompt="\n".join(own))]


def _tool(name, **arguments):
    return f"!tool {name} {json.dumps(arguments)}"


KINDS = (_talk, _think, _write, _note, _run, _run, _ask, _delegate)


def files(prompt):
    """What the agent may make of files at such a prompt, from the record's folder on."""
    found = {}
    for line in prompt.splitlines():
        for name, arguments in _calls(line):
            if name == "write":
                found[_name(arguments["filePath"])] = arguments["content"].encode()
            elif name == "bash":
                found[_name(arguments["command"])] = arguments["command"].split()[3].encode() + b"\n"
            elif name == "task":
                found |= files(arguments["prompt"])
    return found


def _calls(line):
    if line.startswith("!tool "):
        _, name, arguments = line.split(" ", 2)
        yield name, json.loads(arguments)


def _name(text):
    return text.rpartition("/")[2]
