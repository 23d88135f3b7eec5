"""What the parts of the server share: its storage, its events, its configuration."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from opencode_sessions.testing.v2.bus import Bus
from opencode_sessions.testing.v2.database import Database
from opencode_sessions.testing.v2.errors import session_not_found
from opencode_sessions.testing.v2.rules import AGENTS, Ruleset, normalized

__all__ = ["VERSION", "Config", "Core", "project_of"]

Json = dict[str, Any]

VERSION = "2.1.2-fake"
"""What the server says it is: the version whose contract it follows, and that it is not the real one."""


@dataclass(frozen=True, slots=True)
class Config:
    """The server's configuration.

    Attributes:
        model: The model of sessions that name none, as `{id, providerID}`.
        title_model: The model that is asked for titles; None for no titles.
        base_urls: Where each provider's API is.
        contexts: How many tokens a model takes, by provider and model. A conversation that is longer is compacted.
        costs: Dollars for a million tokens in and out, by provider and model.
        agents: The agents, by id.
    """

    model: Json | None
    title_model: Json | None
    base_urls: Mapping[str, str]
    contexts: Mapping[tuple[str, str], int]
    costs: Mapping[tuple[str, str], tuple[float, float]]
    agents: Mapping[str, Json]

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Config:
        """Understand a configuration, in the words of the 2.x line or of the 1.x line."""
        providers = {**given.get("provider", {}), **given.get("providers", {})}
        common = normalized(
            {**given.get("permission", {})} if "permission" in given else given.get("permissions")
        )
        agents = {
            name: {**agent, "permissions": [*agent["permissions"], *common]} for name, agent in AGENTS.items()
        }
        for name, agent in {**given.get("agent", {}), **given.get("agents", {})}.items():
            known = agents.get(
                name, {"mode": "all", "permissions": [*AGENTS["build"]["permissions"], *common]}
            )
            own = normalized(agent.get("permissions", agent.get("permission")))
            agents[name] = {**known, **agent, "permissions": [*known["permissions"], *own]}
        return cls(
            model=_model(given.get("model")),
            title_model=_model(given.get("small_model")),
            base_urls={name: _base_url(provider) for name, provider in providers.items()},
            contexts={
                (name, model): about.get("limit", {}).get("context", sys.maxsize)
                for name, provider in providers.items()
                for model, about in provider.get("models", {}).items()
            },
            costs={
                (name, model): (cost.get("input", 0), cost.get("output", 0))
                for name, provider in providers.items()
                for model, about in provider.get("models", {}).items()
                for cost in [about.get("cost") or {}]
            },
            agents=agents,
        )


def _model(given: str | Mapping[str, Any] | None) -> Json | None:
    if given is None:
        return None
    if isinstance(given, str):
        provider, _, model = given.partition("/")
        return {"id": model, "providerID": provider}
    return {"id": given["model"], "providerID": given["providerID"]}


def _base_url(provider: Mapping[str, Any]) -> str:
    options = {**provider.get("options", {}), **provider.get("settings", {})}
    return str(options.get("baseURL", "")).rstrip("/")


@dataclass(slots=True)
class Core:
    """The server's insides.

    Attributes:
        database: What it keeps.
        bus: Its events.
        config: How it is configured.
        directory: Where it works if a request names no directory.
        data: Its data folder.
        retry_base: Seconds before the first repetition of a failed request to a model; each further one doubles it.
        environments: The environment of each session's shell commands, if a client has set one.
    """

    database: Database
    bus: Bus
    config: Config
    directory: str
    data: Path
    retry_base: float = 2.0
    environments: dict[str, dict[str, str]] = field(default_factory=dict)

    def session(self, session_id: str) -> Json:
        """A session.

        Raises:
            ApiError: There is no such session.
        """
        session = self.database.session(session_id)
        if session is None:
            raise session_not_found(session_id)
        return session

    def messages(self, session_id: str) -> list[Json]:
        """The messages of a session, oldest first, without those that a staged revert hides."""
        messages = self.database.messages(session_id)
        hidden_from = self.session(session_id).get("revert", {}).get("messageID")
        shown = takewhile(lambda message: message["id"] != hidden_from, messages)
        return list(shown)

    def commit_revert(self, session: Json) -> None:
        """Delete what a staged revert hides, if there is one."""
        if "revert" in session:
            data = {"sessionID": session["id"], "to": session["revert"]["messageID"]}
            self.bus.log("session.revert.committed", data)

    def cost_of(self, model: Json, tokens: Json) -> float:
        """The dollars that a model takes for these tokens."""
        price_in, price_out = self.config.costs.get((model["providerID"], model["id"]), (0, 0))
        spent = tokens["input"] * price_in + (tokens["output"] + tokens["reasoning"]) * price_out
        return float(spent / 1_000_000)

    def agent_of(self, session: Json) -> str:
        """The agent that answers in a session."""
        return str(session.get("agent") or "build")

    def rules_of(self, session: Json, agent: str) -> Ruleset:
        """The rules that hold before saved permissions: those of the agent, then those of the session."""
        known = self.config.agents.get(agent)
        if known is None:
            return [{"action": "*", "resource": "*", "effect": "deny"}]
        return [*known["permissions"], *session.get("permissions", [])]

    def tell(self, session_id: str, kind: str, data: Json) -> None:
        """Publish an event that is not stored, with the directory of a session."""
        session = self.database.session(session_id)
        self.bus.tell(kind, data, directory=session["location"]["directory"] if session else self.directory)


def project_of(directory: str) -> tuple[str, str]:
    """The id and the folder of the project that a directory is in.

    A folder under Git is a project of its own. All others share the project `global`, so a permission that is
    saved in one of them holds in all of them.
    """
    path = Path(os.path.realpath(directory))
    for folder in (path, *path.parents):
        if (folder / ".git").exists():
            return hashlib.sha1(str(folder).encode(), usedforsecurity=False).hexdigest(), str(folder)
    return "global", "/"
