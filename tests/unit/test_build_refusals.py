"""Building: what is refused, with an error that the author can act on."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import forge
from builds import SIGNER, built, paths, refusal, verified
from mpp_exec.errors import InternalError, UsageError
from mpp_exec.package import canonical
from mpp_exec.package.build import build, read_draft
from mpp_exec.package.ignore import IgnoreRules
from mpp_exec.package.limits import LIMITS
from mpp_exec.package.source import collect, read


@pytest.fixture
def tree(tmp_path: Path) -> forge.Tree:
    return forge.Tree(tmp_path / "source")


@pytest.mark.parametrize(
    ("files", "runtime"),
    [
        ({"echo/__init__.py": b"def echo(): ..."}, ""),
        ({"vendor/echo.py": b"def echo(): ..."}, 'path = ["vendor"]'),
        ({"echo.cpython-311-x86_64-linux-gnu.so": b"\x7fELF"}, ""),
        ({"echo.py": b"from lib import *\n"}, ""),
        ({"echo.py": b"import lib as echo\n"}, ""),
        ({"echo.py": b"from lib import say as echo\n"}, ""),
        ({"echo.py": b"try:\n    from fast import echo\nexcept ImportError:\n    def echo(): ...\n"}, ""),
        ({"echo.py": b"if True:\n    x = 1\nelse:\n    echo = print\n"}, ""),
        ({"echo.py": b"other, (echo, *rest) = f()\n"}, ""),
        ({"echo.py": b"echo: object = print\n"}, ""),
        ({"echo.py": b"async def echo(): ...\n"}, ""),
        ({"echo.py": b"class echo: ...\n"}, ""),
        ({"echo.py": b"def __getattr__(name): ...\n"}, ""),
        ({"echo.py": b"with open('x') as f:\n    def echo(): ...\n"}, ""),
        ({"echo.py": b"'\\d'\ndef echo(): ...\n"}, ""),
        ({"echo/__init__.py": b"def echo(): ...", "echo.py": b"import this"}, ""),
    ],
)  # fmt: skip
def test_an_entry_is_found_wherever_python_would_find_it(
    tree: forge.Tree, files: dict[str, bytes], runtime: str
) -> None:
    tree.files = files
    tree.toml = tree.toml.replace('kind = "python"', f'kind = "python"\n{runtime}')
    assert verified(built(tree).path)


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"other.py": b""}, "build.missing_file", "echo.py"),
        ({"lib/echo.py": b"def echo(): ..."}, "build.missing_file", "echo.py"),
        ({"echo.py": b""}, "build.entry_missing", "def echo"),
        ({"echo.py": b"def ecko(): ..."}, "build.entry_missing", "echo"),
        ({"echo.py": b"def f():\n    def echo(): ...\n"}, "build.entry_missing", "echo"),
        ({"echo.py": b"class C:\n    def echo(self): ...\n"}, "build.entry_missing", "echo"),
        ({"echo.py": b"echo: int\n"}, "build.entry_missing", "echo"),
        ({"echo.py": b"x.echo = 1\nimport echo.more as other\n"}, "build.entry_missing", "echo"),
        ({"echo.py": b"def echo(:\n"}, "build.entry_syntax", "line 1"),
        ({"echo.py": b"x\0y"}, "build.entry_syntax", "echo.py"),
        ({"echo.py": b"\xff\xfe"}, "build.entry_syntax", "echo.py"),
        ({"echo.py": b"x = " + b"(" * 5000}, "build.entry_syntax", "echo.py"),
        ({"echo.py": b"x = " + b"-" * 500_000 + b"1"}, "build.entry_syntax", "echo.py"),
        ({"echo/__init__.py": b"", "echo.py": b"def echo(): ..."}, "build.entry_missing", "__init__"),
        ({"echo.py": b"#" * 8_400_000}, "build.too_large", "echo.py"),
    ],
)  # fmt: skip
def test_an_entry_that_is_not_there_is_refused(
    tree: forge.Tree, files: dict[str, bytes], code: str, words: str
) -> None:
    tree.files = files
    error = refusal(tree)
    assert isinstance(error, UsageError)
    assert error.code == code
    assert words in f"{error.message} {error.hint}"


def test_what_is_no_regular_file_is_refused(tree: forge.Tree) -> None:
    root = tree.write()
    strange = root / "strange"
    makers: dict[str, Callable[[], None]] = {
        "a symbolic link": lambda: strange.symlink_to("echo.py"),
        "a FIFO": lambda: os.mkfifo(strange),
    }
    if os.geteuid() == 0:
        makers["a device"] = lambda: os.mknod(strange, stat.S_IFCHR | 0o644, os.makedev(1, 3))
    for what, make in makers.items():
        make()
        error = refusal(tree)
        assert error.code == "build.not_a_file"
        assert f"strange is {what}" in error.message
        strange.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(strange))
        assert refusal(tree).code == "build.not_a_file"
        (root / ".mppignore").write_text("strange\n")
        assert "strange" not in paths(build(root, SIGNER, root.parent / "out.mpp"))


def test_a_link_to_a_folder_is_not_entered(tree: forge.Tree) -> None:
    root = tree.write()
    (root / "all").symlink_to("/")
    assert refusal(tree).code == "build.not_a_file"
    (root / "all").unlink()
    (root / "mpp.toml").rename(root.parent / "real.toml")
    (root / "mpp.toml").symlink_to(root.parent / "real.toml")
    assert refusal(tree).code == "build.not_a_file"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([b"e\xcc\x81"], "package.not_nfc"),
        ([b"a\\b"], "package.backslash"),
        ([b"a\nb"], "package.bad_path"),
        ([b"a\xe2\x80\xaeb"], "package.bad_path"),
        ([b"\xff"], "build.bad_name"),
        ([b"README", b"readme"], "package.case_collision"),
        ([b"manifest.cose"], "package.duplicate_member"),
    ],
)
def test_a_name_that_no_package_can_have_is_refused(tree: forge.Tree, names: list[bytes], code: str) -> None:
    root = tree.write()
    for name in names:
        Path(os.fsdecode(bytes(root) + b"/" + name)).write_text("x")
    error = refusal(tree)
    assert isinstance(error, UsageError)
    assert error.code == code
    assert ".mppignore" in error.hint


def test_a_tree_too_deep_is_refused(tree: forge.Tree) -> None:
    deep = tree.write()
    for _ in range(40):
        deep /= "d"
        deep.mkdir()
    assert refusal(tree).code == "package.path_too_long"


def test_a_huge_sparse_file_is_refused_before_it_is_read(tree: forge.Tree) -> None:
    root = tree.write()
    (root / "huge").touch()
    os.truncate(root / "huge", LIMITS.member + 1)
    assert refusal(tree).code == "build.too_large"
    (root / "huge").unlink()
    for name in ("a", "b", "c"):
        (root / name).touch()
        os.truncate(root / name, LIMITS.member)
    assert refusal(tree).code == "build.too_large"


def test_the_key_of_another_publisher_is_refused(tree: forge.Tree) -> None:
    tree.toml = tree.toml.replace("acme/echo", "other/echo")
    error = refusal(tree)
    assert error.code == "build.wrong_publisher"
    assert "--key other" in error.hint


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda root: (root / "mpp.toml").unlink(), "build.no_manifest"),
        (lambda root: (root / "mpp.toml").write_bytes(b"\xff"), "build.not_text"),
        (lambda root: (root / "mpp.toml").write_bytes(b"#" * 2_000_000), "build.too_large"),
        (lambda root: (root / "mpp.toml").write_text("[package"), "toml.syntax"),
        (lambda root: (root / ".mppignore").write_bytes(b"#" * 300_000), "build.too_large"),
        (lambda root: (root / ".mppignore").mkdir(), "build.not_a_file"),
        (shutil.rmtree, "build.no_folder"),
    ],
)
def test_a_folder_that_is_no_source_is_refused(
    tree: forge.Tree, change: Callable[[Path], object], code: str
) -> None:
    root = tree.write()
    change(root)
    before = sorted(root.parent.rglob("*"))
    with pytest.raises(UsageError) as error:
        build(root, SIGNER, root.parent / "out.mpp")
    assert error.value.code == code
    assert error.value.hint
    assert sorted(root.parent.rglob("*")) == before


def test_the_draft_can_be_read_without_building(tree: forge.Tree) -> None:
    assert read_draft(tree.write()).name == "acme/echo"


def test_a_place_that_cannot_be_written_is_refused(tree: forge.Tree) -> None:
    tree.write()
    assert refusal(tree, tree.root / "echo.py" / "out.mpp").code == "build.bad_output"
    assert refusal(tree, tree.root / "no" / "out.mpp").code == "build.bad_output"
    assert refusal(tree, Path("/proc/out.mpp")).code == "build.bad_output"
    os.mkfifo(tree.root.parent / "fifo")
    assert refusal(tree, tree.root.parent / "fifo").code == "build.bad_output"
    assert refusal(tree, Path("/dev/null")).code == "build.bad_output"


def test_a_full_disk_keeps_the_old_package(tree: forge.Tree) -> None:
    old = built(tree).path.read_bytes()
    (tree.root / "more").write_bytes(bytes(2_000_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        error = refusal(tree)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(error, InternalError)
    assert error.code == "build.io"
    assert (tree.root.parent / "out.mpp").read_bytes() == old


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(b"def echo(): ...\n"),
        lambda file: file.write_bytes(b"x" * 100_000),
        replace_by_link,
        lambda file: os.utime(file, (5, 5)),
        lambda file: file.unlink(),
    ],
    ids=["shorter", "longer", "a link", "touched", "gone"],
)
def test_a_file_that_changes_while_it_is_packed_is_noticed(
    tree: forge.Tree, change: Callable[[Path], object]
) -> None:
    root = tree.write()

    def on_progress(*_: int) -> None:
        """After the first file, which is data/words.txt, change the second."""
        if not changed:
            changed.append(change(root / "echo.py"))

    changed: list[object] = []
    with pytest.raises(UsageError) as error:
        build(root, SIGNER, root.parent / "out.mpp", on_progress)
    assert error.value.code in {"build.file_changed", "build.unreadable"}
    assert [path.name for path in root.parent.iterdir()] == ["source"]


def test_nothing_is_signed_that_a_reader_would_refuse(tree: forge.Tree) -> None:
    """The rules of the signed manifest are applied before signing, to the very value that is signed."""
    package = built(tree)
    assert canonical.from_value(canonical.to_value(package.manifest)) == package.manifest


@pytest.mark.parametrize("size", [2_000_000, 4_000_000], ids=["shrinks", "grows"])
def test_a_file_that_changes_while_it_is_being_read_is_noticed(tmp_path: Path, size: int) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(3_000_000))
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        (found,) = collect(folder, IgnoreRules())
        pieces = read(folder, found)
        assert len(next(pieces)) < 3_000_000
        os.truncate(file, size)
        with pytest.raises(UsageError) as error:
            list(pieces)
    finally:
        os.close(folder)
    assert error.value.code == "build.file_changed"
