"""All that belongs to the V2 line of the server alone: written to the contract of 2.1, and recordings of 2.0.19.

`calls` is what it can be asked, `responses` the shapes of what it answers, `frames` those of its event stream, and
`names` what it calls otherwise than this library does.
"""
