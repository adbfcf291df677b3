"""Building: the same bytes from the same source, on any machine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import forge
from builds import SIGNER, built, paths, refusal, verified
from mpp_exec.package.build import build
from mpp_exec.trust.cose import ManifestSigner


@pytest.fixture
def tree(tmp_path: Path) -> forge.Tree:
    return forge.Tree(tmp_path / "source")


def test_what_is_built_verifies(tree: forge.Tree) -> None:
    package = built(tree)
    assert package.path.stat().st_size == package.size
    result = verified(package.path)
    assert result.manifest == package.manifest
    assert result.digest == package.digest
    assert paths(package) == sorted(forge.PYTHON_FILES)


def test_the_forge_makes_the_same_package(tree: forge.Tree) -> None:
    """The whole way from text to bytes, against bytes made by other code."""
    assert built(tree).path.read_bytes() == forge.package("python")


def test_the_same_source_gives_the_same_bytes_whatever_the_circumstances(tmp_path: Path) -> None:
    """Other folder, order on disk, times, mode bits, umask, ignored files, earlier output."""
    one = forge.Tree(tmp_path / "one")
    one.files |= {"b/x": b"1", "a": b"2", "Grüße": b"3", "run.sh": b"#!/bin/sh\n"}
    one.executable = ("run.sh",)
    first = built(one, tmp_path / "first.mpp").path.read_bytes()
    other = forge.Tree(tmp_path / "another place", files=dict(reversed(one.files.items())))
    other.executable = one.executable
    before = os.umask(0o077)
    try:
        other.write()
        for name in other.files:
            file = other.root / name
            os.utime(file, (1, 1))
            file.chmod(0o700 if name == "run.sh" else 0o406)
        (other.root / ".mppignore").write_text("*.log\n!important.log\nbuild/\n")
        (other.root / "debug.log").write_text("x")
        (other.root / "build").mkdir()
        (other.root / "build" / "important.log").write_text("x")
        (other.root / "__pycache__").mkdir()
        (other.root / "__pycache__" / "echo.pyc").write_text("x")
        (other.root / ".git").mkdir()
        (other.root / ".git" / "config").write_text("x")
        (other.root / "b" / "old.mpp").write_text("x")
        target = other.root / "second.zip"
        for _ in range(2):
            second = build(other.root, SIGNER, target)
    finally:
        os.umask(before)
    assert second.path.read_bytes() == first


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "de_DE.ISO-8859-1"])
def test_the_locale_does_not_matter(tree: forge.Tree, locale: str) -> None:
    tree.files["Grüße/日本.txt"] = b"hi"
    expected = built(tree).path.read_bytes()
    script = (
        "import sys; from mpp_exec.package.build import build\n"
        "from mpp_exec.trust.cose import ManifestSigner; from mpp_exec.trust.keys import SigningKey\n"
        "build(sys.argv[1], ManifestSigner('acme', SigningKey(b'\\x01' * 32)), sys.argv[2])"
    )
    output = tree.root.parent / "elsewhere.mpp"
    environment = {
        "LC_ALL": locale,
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PATH": os.environ["PATH"],
    }
    subprocess.run([sys.executable, "-c", script, str(tree.root), str(output)], check=True, env=environment)
    assert output.read_bytes() == expected


def test_other_keys_and_contents_give_other_bytes(tree: forge.Tree) -> None:
    first = built(tree)
    other = build(tree.root, ManifestSigner("acme", forge.OTHER_KEY), tree.root.parent / "other.mpp")
    assert other.digest != first.digest
    (tree.root / "data/words.txt").write_bytes(b"alpha betA\n")
    assert built(tree, tree.root.parent / "third.mpp").digest == first.digest  # written anew by the tree
    (tree.root / "data/words.txt").write_bytes(b"alpha betA\n")
    assert build(tree.root, SIGNER, tree.root.parent / "third.mpp").digest != first.digest


def test_only_the_owners_executable_bit_counts(tree: forge.Tree) -> None:
    tree.write()
    (tree.root / "data/words.txt").chmod(0o655)
    (tree.root / "echo.py").chmod(0o4744)
    package = build(tree.root, SIGNER, tree.root.parent / "out.mpp")
    assert {entry.path: entry.executable for entry in package.manifest.files} == {
        "data/words.txt": False,
        "echo.py": True,
    }


def test_mppignore_leaves_files_out_as_git_would(tree: forge.Tree) -> None:
    names = "a.log keep.log x/a.log build/y x/build/z top.txt x/top.txt doc/a.md doc/i/a.md"
    tree.files |= dict.fromkeys(names.split(), b"")
    tree.files[".mppignore"] = b"\xef\xbb\xbf# comment\r\n*.log\r\n!keep.log\n\nbuild/\n/top.txt\ndoc/*.md\n"
    assert paths(built(tree)) == ["data/words.txt", "doc/i/a.md", "echo.py", "keep.log", "x/top.txt"]


def test_what_never_belongs_in_a_package_cannot_be_taken_back(tree: forge.Tree) -> None:
    tree.files |= dict.fromkeys([".git", "x/.git/config", "__pycache__/c.pyc", "old.mpp", "x/mpp.toml"], b"")
    tree.files[".mppignore"] = b"!.git\n!*.mpp\n!__pycache__/\n!mpp.toml\n!.mppignore\n"
    assert paths(built(tree)) == ["data/words.txt", "echo.py", "x/mpp.toml"]


def test_a_bad_pattern_names_its_line(tree: forge.Tree) -> None:
    tree.files[".mppignore"] = b"*.log\n\n!\n"
    error = refusal(tree)
    assert error.code == "build.bad_ignore"
    assert "line 3" in error.message


def test_the_output_may_lie_in_the_folder_and_be_built_again(tree: forge.Tree) -> None:
    tree.write()
    first = build(tree.root, SIGNER, tree.root / "result.bin").path.read_bytes()
    assert build(tree.root, SIGNER, tree.root / "result.bin").path.read_bytes() == first


def test_the_usual_name_goes_into_the_working_folder_or_the_one_named(
    tree: forge.Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dist").mkdir()
    tree.write()
    monkeypatch.chdir(tmp_path)
    assert build("source", SIGNER).path == Path("acme-echo-1.0.0.mpp")
    assert build("source", SIGNER, tmp_path / "dist").path == tmp_path / "dist/acme-echo-1.0.0.mpp"
    assert (tmp_path / "acme-echo-1.0.0.mpp").read_bytes() == (
        tmp_path / "dist/acme-echo-1.0.0.mpp"
    ).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acme-echo-1.0.0.mpp", "dist", "source"]


def test_the_package_has_the_mode_that_the_umask_gives(tree: forge.Tree) -> None:
    before = os.umask(0o027)
    try:
        assert stat.S_IMODE(built(tree).path.stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_progress_counts_the_contents(tree: forge.Tree) -> None:
    seen: list[tuple[int, int]] = []
    build(tree.write(), SIGNER, tree.root.parent / "o.mpp", lambda done, total: seen.append((done, total)))
    total = sum(len(data) for data in forge.PYTHON_FILES.values())
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


def test_an_exec_package_builds(tree: forge.Tree) -> None:
    tree.toml = tree.toml.replace('kind = "python"', 'kind = "exec"\ncommand = ["bin/echo"]')
    tree.toml = tree.toml.replace('entry = "echo:echo"\n', "").replace('requires = ["python>=3.11"]\n', "")
    tree.files = dict(forge.EXEC_FILES)
    tree.executable = ("bin/echo",)
    assert built(tree).path.read_bytes() == forge.package("exec")
    (tree.root / "bin/echo").chmod(0o644)
    error = refusal(tree, tree.root.parent / "second.mpp")
    assert error.code == "build.not_executable"
    assert "chmod +x bin/echo" in error.hint
    (tree.root / "bin/echo").unlink()
    assert refusal(tree).code == "build.missing_file"
