"""HTTP client of Letta's API, and poller; nothing here interprets a listing."""
