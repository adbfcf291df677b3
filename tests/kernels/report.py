"""A pytest plugin of the guests: tells a failure at once, since a guest that hangs later tells nothing."""

from __future__ import annotations

import pytest


class _AtOnce:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tell(report, report.when)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._tell(report, "collected")

    def _tell(self, report: pytest.TestReport | pytest.CollectReport, when: str) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\n{report.nodeid}, {when}:\n{report.longreprtext}")


def pytest_configure(config: pytest.Config) -> None:
    """Stand beside pytest's own reporter."""
    config.pluginmanager.register(_AtOnce(config))
