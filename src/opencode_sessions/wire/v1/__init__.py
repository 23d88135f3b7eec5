"""The dialect of the server's V1 line, as seen on opencode 1.18.33.

`calls` has its requests, `responses` the shapes of its answers, and `frames` those of its event stream.
"""
