"""A TCP proxy that breaks connections on demand. `faults` has its faults, and `server` the proxy."""
