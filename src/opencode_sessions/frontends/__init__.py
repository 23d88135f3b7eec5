"""How a turn that is watched is told to those who watch it: one encoder for each protocol; see `live.encoder`."""
