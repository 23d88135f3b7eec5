"""The tools that the model may call, with the input that 2.x servers give them."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_sessions.testing.v2.core import Core
from opencode_sessions.testing.v2.forms import Forms
from opencode_sessions.testing.v2.permissions import BlockedError, CorrectedError, DeclinedError, Permissions
from opencode_sessions.testing.v2.rules import is_hidden
from opencode_sessions.testing.v2.shells import Shells

if TYPE_CHECKING:
    from opencode_sessions.testing.v2.subagents import Subagents

__all__ = ["ToolCall", "ToolError", "ToolResult", "Tools"]

Json = dict[str, Any]

_TIMEOUT = 120_000
_READ_LIMIT = 2000
_OPERATORS = re.compile(r"\s*(?:&&|\|\||;|\||\n)\s*")


class ToolError(Exception):
    """A tool says that it could not do what it was called for; the model is told so.

    Args:
        message: What the model is told.
        kind: The type of the error.
    """

    def __init__(self, message: str, *, kind: str = "tool.execution") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool came to."""

    text: str
    metadata: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call, and where it was made.

    Attributes:
        progress: Publishes metadata while the tool runs.
    """

    session_id: str
    directory: str
    agent: str
    message_id: str
    id: str
    name: str
    arguments: Json
    progress: Callable[[Json], None]

    @property
    def source(self) -> Json:
        """How a permission request names the call."""
        return {"type": "tool", "messageID": self.message_id, "id": self.id}

    def text(self, name: str) -> str:
        """A required argument.

        Raises:
            ToolError: It is missing.
        """
        value = self.arguments.get(name)
        if not isinstance(value, str):
            raise ToolError(
                f'Invalid arguments for tool "{self.name}":\n- {name}: Missing key\n\n'
                f"Arguments provided:\n{self.arguments}\n\nUpdate the arguments and call the tool again."
            )
        return value


Tool = Callable[[ToolCall], Awaitable[ToolResult]]


class Tools:
    """The tools of the server.

    Args:
        core: The server's insides.
        permissions: Who decides what a tool may do.
        forms: How questions are asked.
        shells: How commands are run.
        subagents: How other agents are started.
    """

    def __init__(
        self, core: Core, permissions: Permissions, forms: Forms, shells: Shells, subagents: Subagents
    ) -> None:
        self._core = core
        self._permissions = permissions
        self._forms = forms
        self._shells = shells
        self._tools: dict[str, tuple[str, Tool]] = {
            "read": ("read", self._read),
            "glob": ("glob", self._glob),
            "write": ("edit", self._write),
            "edit": ("edit", self._edit),
            "shell": ("shell", self._shell),
            "question": ("question", self._question),
            "subagent": ("subagent", subagents.run),
        }

    def offered(self, session_id: str, agent: str) -> list[str]:
        """The tools that the model is told of: not those that a rule denies for everything."""
        rules = self._permissions.rules(session_id, agent)
        return [name for name, (action, _) in self._tools.items() if not is_hidden(action, rules)]

    async def run(self, call: ToolCall) -> ToolResult:
        """Do what the model calls for.

        Raises:
            ToolError: It cannot be done.
            DeclinedError: A person refused it without a word.
        """
        if call.name not in self._tools:
            raise ToolError(f"Unknown tool: {call.name}")
        result = await self._tools[call.name][1](call)
        return ToolResult(result.text, {"truncated": False, **result.metadata})

    async def check(
        self,
        call: ToolCall,
        action: str,
        resources: list[str],
        *,
        failure: str,
        save: list[str] | None = None,
        metadata: Json | None = None,
    ) -> None:
        """Return if the call is allowed.

        Raises:
            ToolError: A rule denies it, or a person refused it and said why. The text is `failure`.
            DeclinedError: A person refused it without a word.
        """
        try:
            await self._permissions.check(
                call.session_id,
                call.agent,
                action,
                resources,
                save=save,
                metadata=metadata,
                source=call.source,
            )
        except BlockedError as error:
            raise ToolError(failure, kind="permission.rejected") from error
        except CorrectedError as error:
            raise ToolError(failure) from error

    async def _place(self, call: ToolCall, path: str, *, failure: str) -> tuple[Path, str]:
        """The file that a path means, and what rules call it. A file outside of the directory needs a permission."""
        directory = Path(call.directory)
        file = directory / path
        absolute = Path(str(file)).resolve()
        if not absolute.is_relative_to(directory.resolve()):
            around = f"{absolute.parent}/*"
            await self.check(call, "external_directory", [around], save=[around], failure=failure)
            return absolute, str(absolute)
        return absolute, str(absolute.relative_to(directory.resolve()))

    async def _read(self, call: ToolCall) -> ToolResult:
        path = call.text("path")
        failure = f"Unable to read {path}"
        file, resource = await self._place(call, path, failure=failure)
        await self.check(call, "read", [resource], save=["*"], failure=failure)
        if not file.is_file():
            raise ToolError(f"File not found: {path}")
        lines = file.read_text(errors="replace").splitlines()
        start = int(call.arguments.get("offset") or 1)
        shown = lines[start - 1 :][: int(call.arguments.get("limit") or _READ_LIMIT)]
        end = start + len(shown) - 1
        said = [f"Read file {resource}, lines {start}-{end}"]
        said += [f"{number}: {line}" for number, line in enumerate(shown, start)]
        if end < len(lines):
            said.append(f"[Output truncated. Continue reading with offset: {end + 1}]")
        return ToolResult("\n".join(said), {"truncated": end < len(lines)})

    async def _glob(self, call: ToolCall) -> ToolResult:
        pattern = call.text("pattern")
        failure = f"Unable to search for {pattern}"
        folder, _ = await self._place(call, str(call.arguments.get("path") or "."), failure=failure)
        await self.check(call, "glob", [pattern], save=["*"], failure=failure)
        found = sorted(str(path) for path in folder.glob(pattern) if path.is_file())
        return ToolResult("\n".join(found) or "No files found", {"count": len(found)})

    async def _write(self, call: ToolCall) -> ToolResult:
        path, content = call.text("path"), call.text("content")
        failure = f"Unable to write {path}"
        file, resource = await self._place(call, path, failure=failure)
        await self.check(call, "edit", [resource], save=["*"], failure=failure)
        existed = file.exists()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        except OSError as error:
            raise ToolError(failure) from error
        return ToolResult(f"{'Wrote' if existed else 'Created'} file successfully: {resource}")

    async def _edit(self, call: ToolCall) -> ToolResult:
        path, old, new = call.text("path"), call.text("oldString"), call.text("newString")
        failure = f"Unable to edit {path}"
        file, resource = await self._place(call, path, failure=failure)
        if not file.is_file():
            raise ToolError(f"File not found: {path}")
        before = file.read_text()
        found, every = before.count(old), call.arguments.get("replaceAll") is True
        after = before.replace(old, new) if every else before.replace(old, new, 1)
        diff = _diff(resource, before, after)
        await self.check(
            call,
            "edit",
            [resource],
            save=["*"],
            metadata={"files": [diff]} if found else None,
            failure=failure,
        )
        if not found:
            raise ToolError(
                f"Could not find oldString in {path}. It must match exactly, including whitespace and indentation."
            )
        if found > 1 and not every:
            raise ToolError(f"Found {found} matches for oldString, but expected exactly one.")
        file.write_text(after)
        return ToolResult(
            f"Edited {resource} ({found} replacement{'' if found == 1 else 's'})", {"files": [diff]}
        )

    async def _shell(self, call: ToolCall) -> ToolResult:
        command = call.text("command")
        failure = f"Unable to execute command: {command}"
        directory, _ = await self._place(call, str(call.arguments.get("workdir") or "."), failure=failure)
        commands = [part for part in _OPERATORS.split(command.strip()) if part] or [command]
        save = [_saved_form(part) for part in commands]
        await self.check(call, "shell", commands, save=save, failure=failure)
        if not directory.is_dir():
            raise ToolError(failure)
        shell = self._shells.start(call.session_id, command, str(directory))
        call.progress({"shellID": shell.id})
        timeout = call.arguments.get("timeout", _TIMEOUT)
        output, code = await self._shells.result(shell, timeout / 1000 if timeout else None)
        output = output or "(no output)"
        if code is None:
            output += f"\n\nCommand exceeded timeout of {timeout} ms."
            return ToolResult(output, {"status": "completed", "timeout": True})
        if code:
            output += f"\n\nCommand exited with code {code}."
        return ToolResult(output, {"status": "completed", "exit": code})

    async def _question(self, call: ToolCall) -> ToolResult:
        questions = call.arguments.get("questions")
        if not isinstance(questions, list) or not questions:
            call.text("questions")
        assert isinstance(questions, list)  # noqa: S101  # for the type checker: `text` has raised otherwise
        await self.check(call, "question", ["*"], failure="Permission denied: question")
        state = await self._forms.ask(
            call.session_id,
            title="Questions",
            fields=[_field(question, number) for number, question in enumerate(questions)],
            metadata={"kind": "question", "tool": {"messageID": call.message_id, "id": call.id}},
        )
        if state["status"] == "cancelled":
            if "message" in state:
                raise ToolError(state["message"])
            asked = "; ".join(f'"{one.get("header")}"="{one["question"]}"' for one in questions)
            raise DeclinedError(f"The user dismissed this question: {asked}")
        answers = [_as_list(state["answer"].get(f"q{number}")) for number in range(len(questions))]
        said = ", ".join(
            f'"{question["question"]}"="{", ".join(answer) or "Unanswered"}"'
            for question, answer in zip(questions, answers, strict=True)
        )
        text = (
            f"User has answered your questions: {said}. You can now continue with the user's answers in mind."
        )
        return ToolResult(text, {"answers": answers})


def _as_list(answer: Any) -> list[str]:
    if answer is None:
        return []
    return list(answer) if isinstance(answer, list) else [str(answer)]


def _field(question: Mapping[str, Any], number: int) -> Json:
    return {
        "key": f"q{number}",
        "title": question.get("header", ""),
        "description": question["question"],
        "type": "multiselect" if question.get("multiple") is True else "string",
        "options": [
            {
                "value": option["label"],
                "label": option["label"],
                **({"description": option["description"]} if "description" in option else {}),
            }
            for option in question.get("options") or ()
        ],
        "custom": True,
    }


def _saved_form(command: str) -> str:
    """What is saved if a person allows such commands for ever: the program, with any arguments."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return f"{words[0]} *" if words else command


def _diff(file: str, before: str, after: str) -> Json:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), file, file, lineterm=""))
    return {
        "file": file,
        "patch": "\n".join(lines),
        "additions": sum(line.startswith("+") for line in lines[2:]),
        "deletions": sum(line.startswith("-") for line in lines[2:]),
        "status": "modified",
    }
