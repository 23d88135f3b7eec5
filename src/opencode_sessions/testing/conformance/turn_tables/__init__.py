"""The suite for tables of turns."""
