"""The broker, which connects for sandboxes: a confined process of the host, and the host's handle of it.

This file is empty, so that the process imports no more than it needs. The host uses ``egress.broker``.
"""
