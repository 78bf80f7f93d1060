"""Letta's API: HTTP client, and the poller that merges all profiles. Nothing here interprets a listing."""
