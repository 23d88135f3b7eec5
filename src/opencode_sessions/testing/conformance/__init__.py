"""What every store has to do, as tests that the author of a store runs over it.

    from opencode_sessions.testing.conformance import BlockingBench, RecordStoreConformance

    class MyBench(BlockingBench):
        def record(self): ...           # a new row
        def store(self, record): ...    # a store of it, for one more caller
        def delete(self, record): ...   # the row vanishes

    class TestMyStore(RecordStoreConformance):
        @pytest.fixture
        def bench(self):
            return MyBench()

`MessageStoreConformance` is the same for message stores; its bench makes messages: `def message(self, prompt)`.

`TurnTableConformance` holds a table of turns (`opencode_sessions.store.turn_table`) to its ports; what its bench needs,
`RecordBench` says: `table`, `message_of`, `copy`, `name_of`, `begin`, and `store` for the record of a message.

`ArtifactStoreConformance` holds a store of artifacts (`opencode_sessions.files.ports`) to its port; its bench has
`artifacts()`, which makes one more store over the same rows and bytes.

`RecordBench` says what else a bench can bring; the tests that want it are skipped, by name, where it does not.
This package needs pytest, and nothing else that the library does not need.
"""

from __future__ import annotations

import pytest

# Before they are imported: a failed assert then says what it compared.
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
