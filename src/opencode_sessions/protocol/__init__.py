"""The ground floor: pure values and rules. No I/O, no clock, no framework."""
