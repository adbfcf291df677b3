"""What is in ``guest`` and ``guest_long`` is about the kernels of ``kernels.toml``; it runs inside guests."""

import os

collect_ignore_glob = [] if "MPP_GUEST" in os.environ else ["guest/*", "guest_long/*"]
