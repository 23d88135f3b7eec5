"""All that belongs to the V1 line of the server alone, as seen on opencode 1.18.33.

`routes` is what it can be asked, `answers` the shapes of what it answers, `frames` those of its event stream.
A new dialect is a package like this one.
"""
