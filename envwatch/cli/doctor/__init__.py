"""The checks of `envwatch doctor`: each measures something and judges it, and the list of them is in `checks`.

`finding` is what a check returns, `judgements` are pure functions from what was measured to a finding, `surroundings`
measures this machine, `sources/letta/probe.py` the way to the server, and `report` makes text and JSON of findings.
"""
