"""The tests in ``guest`` are about the kernels of ``kernels.toml`` and run inside a guest only."""

import os

collect_ignore_glob = [] if "MPP_GUEST" in os.environ else ["guest/*"]
