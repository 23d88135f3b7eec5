"""Task queues that run turns: one module for each, which needs the extra of the same name.

    enqueue ─► the row is reserved ─► commit ─► dispatch: the job is sent ─► a worker's process: run_job

The row decides, not the queue. A job is a hint that a turn is to be run: a queue may lose it, repeat it, or deliver it
late. A turn whose job got lost is found by its row, and sent again (recovery); a job that comes twice runs one turn.
Therefore no adapter asks its queue for retries or late acknowledgements: they would only hold a worker's slot.
"""
