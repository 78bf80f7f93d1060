"""`python -m envwatch` is the command `envwatch`."""

import sys

from envwatch.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
