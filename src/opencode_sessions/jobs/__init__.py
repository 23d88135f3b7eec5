"""Turns that run in the background: the runners of jobs, their attempts, and the order of turns.

    enqueue ─► the row is reserved ─► commit ─► Dispatcher ─► run_job ─► TurnAttempts ─► Turn.run
                                                  │                         │
                    a pool of this process, ──────┘                         └─ parked, retried, or failed
                    a queue, or tests

Nothing here knows a framework or a database: a `TurnTable` reaches the rows, and a `JobHost` makes the turns.
"""
