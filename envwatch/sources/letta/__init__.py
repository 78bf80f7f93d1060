"""Letta's API over HTTP, as a source of snapshots: the only package that knows httpx.

`client` walks over all pages within deadlines, `walk` puts them together, `answers` says what came back in plain words,
`wire` asks one question within bounds, `route` knows which way to the server is allowed.
"""
