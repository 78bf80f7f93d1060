"""The demo's row command: asks the demo's server to start a listener.

Standard library only. The dashboard passes the row in `ENVWATCH_…`.
"""

from __future__ import annotations

import http.client
import json
import os
import sys

KEY_VARIABLE = "DEMO_SERVER_KEY"
_TIMEOUT_S = 5.0


def main(base_url: str) -> str | None:
    """Ask the server to start the listener; return an error's text for `sys.exit`."""
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=_TIMEOUT_S)
    authorization = f"Bearer {os.environ.get(KEY_VARIABLE, '')}"
    try:
        connection.request(
            "POST", f"/demo/listeners/{os.environ.get('ENVWATCH_ID', '')}", headers={"Authorization": authorization}
        )
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"the demo's server does not answer: {error}"
    finally:
        connection.close()
    return None if response.status == http.HTTPStatus.OK else str(body.get("error") or body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
