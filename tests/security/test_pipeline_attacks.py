"""Ways around a grant that were found by attacking it: each is tried through a whole call."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import forge
from mpp_exec import ConsentError, HostError, UsageError
from mpp_exec.package.manifest import RuntimeSpec, Tool
from mpp_exec.package.requirement import Requirement
from mpp_exec.permissions import Limits, Permissions
from stage import NAME, OPEN, Stage

READ = "def run(path):\n    return open(path).read()\n"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder where everybody can rename what others own."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "data").mkdir()
    (folder / "data" / "f").write_text("approved", encoding="ascii")
    (folder / "private").mkdir()
    (folder / "private" / "f").write_text("never approved", encoding="ascii")
    return folder


def test_another_folder_put_in_the_place_of_the_approved_one_is_not_mounted(
    stage: Stage, shared: Path
) -> None:
    granted = shared / "data"
    stage.python(READ, permissions=Permissions(read=(str(granted),)))
    assert stage.runtime.call(NAME, "run", {"path": f"{granted}/f"}).structured == {"result": "approved"}
    granted.rename(shared / "old")
    (shared / "private").rename(granted)
    with pytest.raises(HostError) as refused:
        stage.runtime.call(NAME, "run", {"path": f"{granted}/f"})
    assert refused.value.code == "host.grant_changed"


def test_a_grant_that_became_replaceable_since_it_was_approved_is_refused(stage: Stage, shared: Path) -> None:
    shared.chmod(0o755)
    stage.python(READ, permissions=Permissions(read=(str(shared / "data"),)))
    assert not stage.runtime.call(NAME, "run", {"path": f"{shared}/data/f"}).is_error
    shared.chmod(0o777)
    with pytest.raises(ConsentError) as refused:
        stage.runtime.call(NAME, "run", {"path": f"{shared}/data/f"})
    assert refused.value.code == "grant.exposed"


def test_the_user_may_replace_a_folder_that_nobody_else_could(stage: Stage, shared: Path) -> None:
    shared.chmod(0o755)
    granted = shared / "data"
    stage.python(READ, permissions=Permissions(read=(str(granted),)))
    granted.rename(shared / "old")
    (shared / "private").rename(granted)
    assert stage.runtime.call(NAME, "run", {"path": f"{granted}/f"}).structured == {
        "result": "never approved"
    }


def test_a_read_grant_inside_a_write_grant_cannot_be_moved_away(stage: Stage, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "a" / "docs").mkdir(parents=True)
    (project / "a" / "docs" / "file").write_text("kept", encoding="ascii")
    source = (
        "import os\n"
        "def run(project):\n"
        "    try:\n"
        "        os.rename(project + '/a', project + '/b')\n"
        "    except OSError as error:\n"
        "        return error.errno\n"
        "    return 'moved'\n"
    )
    stage.python(
        source,
        permissions=Permissions(write=(str(project),), read=(str(project / "a" / "docs"),)),
        tool={"operation": "write"},
    )
    assert stage.runtime.call(NAME, "run", {"project": str(project)}).structured == {"result": 16}  # EBUSY
    assert (project / "a" / "docs" / "file").read_text(encoding="ascii") == "kept"


def test_memory_cannot_be_kept_beyond_its_mapping(stage: Stage) -> None:
    source = (
        "import mmap\n"
        "def run():\n"
        "    kept = []\n"
        "    for _ in range(8):\n"
        "        memory = mmap.mmap(-1, 32 << 20)\n"
        "        for page in range(0, len(memory), 4096):\n"
        "            memory[page] = 1\n"
        "        memory.resize(4096)\n"
        "        kept.append(memory)\n"
        "    return len(kept) * 32\n"
    )
    stage.python(source, limits=Limits(memory=96 << 20))
    result = stage.runtime.call(NAME)
    assert (result.is_error, result.outcome) == (True, "tool_error")
    assert "OSError" in result.content[0]["text"]


def test_private_memory_and_files_can_be_mapped_all_the_same(stage: Stage) -> None:
    source = (
        "import mmap, os, tempfile\n"
        "def run():\n"
        "    private = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "    private[0] = 7\n"
        "    with tempfile.TemporaryFile() as file:\n"
        "        file.truncate(4096)\n"
        "        shared = mmap.mmap(file.fileno(), 4096)\n"
        "        shared[0] = 8\n"
        "        file.seek(0)\n"
        "        return [private[0], file.read(1)[0]]\n"
    )
    stage.python(source)
    assert stage.runtime.call(NAME).structured == {"result": [7, 8]}


SWITCH = """
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char rest[4096];
    while (read(0, rest, sizeof rest) > 0) continue;
    execl("/bin/sh", "sh", "-c", "echo '\\"ran\\"'", (char *)0);
    printf("%d\\n", errno);
    return 0;
}
"""


def test_a_required_interpreter_that_is_not_the_entry_does_not_start(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "switch.c").write_text(SWITCH, encoding="ascii")
    command = ["cc", "-static", "-o", str(tmp_path / "switch"), str(tmp_path / "switch.c")]
    subprocess.run(command, check=True)
    package = forge.package_of(
        {"bin/switch": (tmp_path / "switch").read_bytes()},
        ("bin/switch",),
        runtime=RuntimeSpec(kind="exec", command=("bin/switch",), requires=(Requirement("sh"),)),
        tools=(Tool(name="run", description="", input_schema=OPEN),),
    )
    _, signed = stage.install(package)
    stage.approve(signed)
    assert stage.runtime.call(NAME).structured == {"result": 13}  # EACCES


def test_a_script_starts_on_the_interpreter_that_its_first_line_names(stage: Stage) -> None:
    script = b"#!/bin/sh\nread -r line\necho '\"from sh\"'\n"
    package = forge.package_of(
        {"bin/tool": script},
        ("bin/tool",),
        runtime=RuntimeSpec(kind="exec", command=("bin/tool",), requires=(Requirement("sh"),)),
        tools=(Tool(name="run", description="", input_schema=OPEN),),
    )
    _, signed = stage.install(package)
    stage.approve(signed)
    result = stage.runtime.call(NAME)
    assert result.structured == {"result": "from sh"}, (result.content, result.stderr)


def test_a_link_named_git_does_not_poison_a_write_grant(stage: Stage, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".git").symlink_to("nowhere")
    stage.python(
        "def run(path):\n    return open(path + '/new', 'w').write('x')\n",
        permissions=Permissions(write=(str(project),)),
        tool={"operation": "write"},
    )
    assert stage.runtime.call(NAME, "run", {"path": str(project)}).structured == {"result": 1}


def test_attack_to_have_a_text_on_the_ledger_for_good_as_the_name_of_a_tool(stage: Stage) -> None:
    stage.python("def run():\n    return 1\n", tool={"confirm": "always", "operation": "destructive"})
    for name in ("jane.doe@example.com", "jane.doe", "x" * 100_000):
        with pytest.raises(UsageError) as caught:
            stage.runtime.call(NAME, name, {})
        assert caught.value.code == "tool.unknown"
    stage.runtime.store.revoke(NAME)
    with pytest.raises(ConsentError):
        stage.runtime.call(NAME, "jane.doe", {})
    with pytest.raises(ConsentError):
        stage.runtime.call(NAME, "run", {})
    refused = stage.runtime.ledger.list(kinds=["refused"])
    assert [(entry.content["code"], entry.content.get("tool", "")) for entry in refused] == [
        ("grant.none", "run"),
        ("grant.none", ""),
        *[("tool.unknown", "")] * 3,
    ]
