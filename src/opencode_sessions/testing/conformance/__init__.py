"""Conformance suites: tests that the author of a store runs over the store.

    from opencode_sessions.testing.conformance import BlockingBench, RecordStoreConformance

    class MyBench(BlockingBench):
        def record(self): ...           # a new row
        def store(self, record): ...    # a store of it, for one more caller
        def delete(self, record): ...   # delete the row

    class TestMyStore(RecordStoreConformance):
        @pytest.fixture
        def bench(self):
            return MyBench()

`MessageStoreConformance` is the same for message stores; its bench makes messages: `def message(self, prompt)`.

`TurnTableConformance` checks a table of turns (`opencode_sessions.store.turn_table`). Its bench defines `table`,
`message_of`, `copy`, `name_of`, `begin`, and `store` for the record of a message; see `RecordBench`.

`ArtifactStoreConformance` checks a store of artifacts (`opencode_sessions.files.ports`). Its bench has `artifacts()`,
which makes one more store over the same rows and bytes.

`RecordBench` describes the optional abilities of a bench. If one is missing, the tests that need it are skipped with
its name. This package needs pytest in addition to the library's own dependencies.
"""

from __future__ import annotations

import pytest

# Before the import, so that a failed assert shows the compared values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{name}"
        for name in ("artifacts", "records", "contention", "faults", "messages", "servers", "turn_tables")
    )
)

from opencode_sessions.testing.conformance.artifacts import (  # noqa: E402 - see above
    ArtifactStoreConformance,
)
from opencode_sessions.testing.conformance.bench import (  # noqa: E402 - see above
    BlockingBench,
    HostTransaction,
    RecordBench,
    SuspendingBench,
)
from opencode_sessions.testing.conformance.messages.suite import (  # noqa: E402 - see above
    MessageStoreConformance,
)
from opencode_sessions.testing.conformance.suite import RecordStoreConformance  # noqa: E402 - see above
from opencode_sessions.testing.conformance.turn_tables.suite import (  # noqa: E402 - see above
    TurnTableConformance,
)

__all__ = [
    "ArtifactStoreConformance",
    "BlockingBench",
    "HostTransaction",
    "MessageStoreConformance",
    "RecordBench",
    "RecordStoreConformance",
    "SuspendingBench",
    "TurnTableConformance",
]
