"""A TCP proxy that breaks connections on demand: `faults` are what it can do, `server` is what does it."""
