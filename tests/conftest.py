"""Fixtures that tests of several rooms share: sandboxes, and checks for what they need from this kernel.

``MPP_MUST_CONFINE=1`` states that this machine can confine. A test that needs such a kernel and would
otherwise be skipped then fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

import sandbox_lab
from needs import missing
from sandbox_lab import Lab

if TYPE_CHECKING:
    from egress_room import Server

# A property makes no promise about time: how long one example takes depends on the load of the machine.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# A shell starts background jobs with SIGINT ignored, and nohup(1) starts programs with SIGHUP ignored. Every
# program that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A laboratory on a kernel on which a sandbox has run."""
    from mpp_exec.errors import HostError  # noqa: PLC0415 -- tests of other rooms need no native part

    made = Lab(tmp_path_factory.mktemp("lab"))
    try:
        assert sandbox_lab.call(made.python("def run():\n    return 5\n")) == 5
    except HostError as error:
        missing(f"this host cannot confine: {error}")
    return made


@pytest.fixture
def peer() -> Iterator[Server]:
    """A server on loopback that echoes what it receives; a module may have one of its own."""
    from egress_room import echoing  # noqa: PLC0415 -- tests of other rooms need no native part

    with echoing() as made:
        yield made


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program of ``sandbox_probe.c``."""
    if shutil.which("cc") is None and "MPP_GUEST" not in os.environ:
        missing("there is no C compiler")
    return sandbox_lab.build_program(
        sandbox_lab.HERE / "sandbox_probe.c", tmp_path_factory.mktemp("probe") / "probe"
    )


@pytest.fixture(scope="session")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program of ``sandbox_attacker.c``."""
    if shutil.which("cc") is None:
        missing("there is no C compiler")
    return sandbox_lab.build_program(
        sandbox_lab.HERE / "sandbox_attacker.c", tmp_path_factory.mktemp("attacker") / "attacker"
    )


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder of the user for granting. It is outside of /tmp, since the sandbox has a /tmp of its own."""
    folder = Path(tempfile.mkdtemp(prefix="mpp-ground-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(ground: Path) -> Path:
    """Like *ground*, but with files in it, one of which only its owner may read."""
    (ground / "sub").mkdir()
    (ground / "a.txt").write_text("text")
    (ground / "sub/b.txt").write_text("deep")
    (ground / "private").write_text("mine")
    (ground / "private").chmod(0o600)
    return ground
