"""What connects for a sandbox: a confined process on the host's side, and the handle that the host has of it.

Empty, so that the process imports no more than it needs: the host's door is ``egress.broker``.
"""
