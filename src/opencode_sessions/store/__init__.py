"""The ports of records and messages, and the in-memory stores."""
