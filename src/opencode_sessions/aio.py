"""The names for asyncio: the same as those of the package, with `Client`, `Session` and `Turn` to be awaited."""

from opencode_sessions.services.pruning import AsyncPruner as Pruner
from opencode_sessions.services.recovering import recover_async as recover
from opencode_sessions.services.session import AsyncSession as Session
from opencode_sessions.services.turn import AsyncTurn as Turn
from opencode_sessions.wire.clients import AsyncClient as Client
from opencode_sessions.wire.stream import Subscription

__all__ = ["Client", "Pruner", "Session", "Subscription", "Turn", "recover"]
