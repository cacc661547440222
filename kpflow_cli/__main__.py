"""``python -m kpflow_cli`` is the ``kpflow`` command."""

import sys

from kpflow_cli.cli import main

if __name__ == "__main__":
    sys.exit(main())
