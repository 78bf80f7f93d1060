"""Letta's `GET /v1/environments` as a source of snapshots: the only package that knows httpx.

`client` reads all pages within deadlines, `pagination` puts them together, `errors` explains responses, `transport`
sends one request within bounds, `network_settings` checks addresses and proxies, `absences` requests missing rows.
"""
