"""``python -m mpp_exec``: the same as ``mpp-exec``."""

import sys

from mpp_exec.cli.main import command

sys.exit(command())
