"""The files of a turn: where its agent works, what it leaves there, and where that is kept."""
