"""The lowest layer: pure values and rules. No I/O, no clock, no framework."""
