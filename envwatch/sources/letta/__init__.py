"""Letta's API over HTTP, as a source of snapshots; the only package that knows httpx.

`client` reads all pages within deadlines, `transport` sends one request within limits, `errors` turns a response into a
page or a failure, `pagination` joins pages, `absences` asks for missing rows, `network_settings` decides which server,
proxy and certificates are allowed. No httpx object leaves this package.
"""
