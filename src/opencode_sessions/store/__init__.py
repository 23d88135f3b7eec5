"""What a record and a message must be able to do: the ports, and the in-memory stores."""
