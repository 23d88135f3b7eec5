"""Turns under chaos: real workers, a real server and real databases, all of which die and come back. `make chaos`."""
