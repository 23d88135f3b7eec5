"""The encoders of a watched turn, one for each protocol; see `live.encoder`."""
