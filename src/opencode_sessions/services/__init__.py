"""Where protocol, wire and store meet. Nothing here knows an event loop, a framework or a database."""
