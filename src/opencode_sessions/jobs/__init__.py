"""Turns that run beside the request: who runs a job, what is tried again, and in which order.

    enqueue ─► the row is reserved ─► commit ─► Dispatcher ─► run_job ─► TurnAttempts ─► Turn.run
                                                  │                         │
                    a pool of this process, ──────┘                         └─ parked, tried again, or given up
                    a queue, or tests

Nothing here knows a framework or a database: rows are reached through a `TurnTable`, turns are made by a `JobHost`.
"""
