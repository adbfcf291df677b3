"""On this kernel: sandboxes of an image, which is a mount from other namespaces and cannot be changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.template import Template
from sandbox_lab import CACHE, Lab, answer, run

SAYS = """
import os
def run():
    with open("/app/tool.py") as file:
        return [file.read(), os.getuid()]
"""


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "started"])
def test_a_sandbox_of_an_image_runs_what_was_sealed(lab: Lab, tmp_path: Path, *, copied: bool) -> None:
    compiled = lab.python(SAYS)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "tool.py").write_text(SAYS)
    folder = os.open(tmp_path, os.O_RDONLY)
    image = Image(folder, ("files", "files/tool.py"), 1 << 16)
    os.close(folder)
    with pytest.raises(OSError, match="Read-only"):
        os.open("files/tool.py", os.O_WRONLY, dir_fd=image.folder)
    for path in (Path(entry.source) for entry in compiled.entries if entry.target == "/app"):
        (path / "tool.py").write_text("raise SystemExit('what is installed')\n")
    template = Template(compiled) if copied else None
    made = Parked(compiled, constants=(), cache=CACHE, early_start=True, template=template, image=image)
    try:
        while made.look(1000) == "preparing":
            pass
        assert made.is_copied is copied
        assert answer(run(compiled, b'{"arguments":{}}', parked=made))["value"] == [SAYS, 1000]
    finally:
        made.close()
        if template is not None:
            template.close()
