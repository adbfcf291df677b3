"""What tests of several rooms share: sandboxes, and what they need of this kernel.

``MPP_MUST_CONFINE=1`` states that this machine can confine: a test that needs the kernel then fails
where it would otherwise be skipped.
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

# A property is no promise about time: how long one example takes depends on who else is on the machine.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# A shell has what it starts in the background ignore Ctrl-C, and nohup(1) the end of the terminal; every
# program that a test starts would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A laboratory on a kernel that was seen to run a sandbox."""
    from mpp_exec.errors import HostError  # noqa: PLC0415 -- tests of other rooms need no native part

    made = Lab(tmp_path_factory.mktemp("lab"))
    try:
        assert sandbox_lab.call(made.python("def run():\n    return 5\n")) == 5
    except HostError as error:
        missing(f"this host cannot confine: {error}")
    return made


@pytest.fixture
def peer() -> Iterator[Server]:
    """A server on loopback that sends back whatever it is sent; a module may have one of its own."""
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
    """A folder of the user's to be granted: outside of /tmp, where the sandbox has something of its own."""
    folder = Path(tempfile.mkdtemp(prefix="mpp-ground-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(ground: Path) -> Path:
    """As *ground*, with files in it, one of which is for its owner only."""
    (ground / "sub").mkdir()
    (ground / "a.txt").write_text("text")
    (ground / "sub/b.txt").write_text("deep")
    (ground / "private").write_text("mine")
    (ground / "private").chmod(0o600)
    return ground
