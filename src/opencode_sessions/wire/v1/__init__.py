"""All that belongs to the V1 line of the server alone, as seen on opencode 1.18.33.

`calls` is what it can be asked, `responses` the shapes of what it answers, `frames` those of its event stream.
"""
