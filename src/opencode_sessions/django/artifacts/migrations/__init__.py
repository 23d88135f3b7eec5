"""Django's own."""
