"""Produce outcomes: the poller, Letta's HTTP API (`letta`), and the merged stream of several targets (`session`).

Sources do not interpret a listing; `fleet.profile_state` does.
"""
