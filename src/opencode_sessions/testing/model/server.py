"""`ScriptedModel`: a language model for tests, demos and work offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.testing.model.handler import Listener
from opencode_sessions.testing.model.request import MAIN_MODEL, SMALL_MODEL, ModelRequest
from opencode_sessions.testing.model.rules import DEFAULT_RULE, Rule, next_step
from opencode_sessions.testing.model.script import Step

__all__ = ["ScriptedModel"]


class ScriptedModel:
    """An OpenAI-compatible model that answers by rules.

    It runs in threads of its own, so that sync and async tests can use it::

        with ScriptedModel() as model, OpencodeServer(config=model.config()) as server:
            ...

    By default it echoes the prompt, and follows directives in it such as ``!tool write {"filePath": …}`` (see
    `opencode_sessions.testing.model.directives`). Its answers depend only on the request, so equal requests get equal
    answers. It remembers only its requests, and how often each fault of a script has happened.

    Args:
        rules: The rules; the first one that matches wins. They replace the default rule, so put `DEFAULT_RULE` at the
            end to keep it.
        port: The port; 0 for any free port.
        hostname: The address to listen on. With another one than loopback, servers on other machines can ask it.

    Attributes:
        rules: The rules in use; they may be replaced at any time.
    """

    def __init__(
        self, rules: Sequence[Rule] = (DEFAULT_RULE,), *, port: int = 0, hostname: str = "127.0.0.1"
    ) -> None:
        self.rules = tuple(rules)
        self._port = port
        self._hostname = hostname
        self._lock = Lock()
        self._calls: list[ModelRequest] = []
        self._troubles: Counter[Hashable] = Counter()
        self._running: tuple[Listener, Thread] | None = None

    def start(self) -> Self:
        """Start to listen. Does nothing if it listens already.

        Raises:
            ConfigurationError: Another program listens on the port.
        """
        if not self._running:
            try:
                listener = Listener(self._hostname, self._port, self._answer)
            except OSError as error:
                raise ConfigurationError(
                    f"The scripted model cannot listen on port {self._port} ({error}): take another, or 0."
                ) from error
            thread = Thread(target=listener.serve_forever, args=(0.02,), name="scripted-model", daemon=True)
            thread.start()
            self._running = listener, thread
        return self

    def stop(self) -> None:
        """Interrupt all answers and end all threads. Does nothing if it is stopped."""
        if self._running:
            listener, thread = self._running
            self._running = None
            listener.shutdown()
            thread.join()
            listener.hang_up()
            listener.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL of its API, such as ``http://127.0.0.1:40123/v1``.

        Raises:
            ConfigurationError: It is not running.
        """
        if not self._running:
            raise ConfigurationError("The scripted model is not running: use it in a `with`, or start() it.")
        return f"http://{self._hostname}:{self._running[0].server_address[1]}/v1"

    @property
    def calls(self) -> list[ModelRequest]:
        """The requests so far, in order, including those for titles."""
        with self._lock:
            return list(self._calls)

    @property
    def call_count(self) -> int:
        """The number of requests, without those for titles."""
        return sum(not call.is_title for call in self.calls)

    def reset(self) -> None:
        """Forget the requests, and the faults that have happened."""
        with self._lock:
            self._calls.clear()
            self._troubles.clear()

    def config(self) -> dict[str, Any]:
        """The OpenCode configuration that uses this model, for `OPENCODE_CONFIG_CONTENT`.

        Raises:
            ConfigurationError: It is not running, so its address is not known.
        """
        return {
            "model": f"scripted/{MAIN_MODEL}",
            "small_model": f"scripted/{SMALL_MODEL}",
            "autoupdate": False,
            "share": "disabled",
            "provider": {
                "scripted": {
                    "npm": "@ai-sdk/openai-compatible",
                    "name": "Scripted",
                    "options": {"baseURL": self.url, "apiKey": "unchecked"},
                    "models": {MAIN_MODEL: _model("Scripted"), SMALL_MODEL: _model("Scripted, small")},
                }
            },
        }

    def _answer(self, request: ModelRequest) -> Step:
        with self._lock:
            self._calls.append(request)
        step = next_step(request, self.rules)
        if step.trouble and step.trouble.times is not None:
            with self._lock:
                self._troubles[request.place] += 1
                if self._troubles[request.place] > step.trouble.times:
                    return replace(step, trouble=None)
        return step


def _model(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "tool_call": True,
        "reasoning": True,
        "cost": {"input": 1, "output": 2},
        "limit": {"context": 200_000, "output": 8_000},
    }
