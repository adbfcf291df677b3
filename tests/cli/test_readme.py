"""What the README and the pages on privacy and MCP show is true: their commands and their Python run here."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from mpp_exec.cli.verbs import FAMILIES, load
from mpp_exec.package.authoring import parse_toml
from pages import Page

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def readme(tmp_path: Path) -> Page:
    return Page(ROOT / "README.md", tmp_path)


def test_the_console_blocks_and_the_python_work_in_order(readme: Page) -> None:
    assert readme.type_commands() > 8
    assert readme.run_python()


def test_the_story_of_a_token_is_true(tmp_path: Path) -> None:
    page = Page(ROOT / "docs" / "privacy.md", tmp_path)
    (page.home / "examples").symlink_to(ROOT / "examples")
    assert page.type_commands() > 5
    said = "".join(page.run_python())
    assert "jane.doe" not in said
    (message,) = (page.home / "outbox").glob("*.eml")
    assert "To: jane.doe@example.com\n" in message.read_text()


def test_the_page_on_mcp_is_true(tmp_path: Path) -> None:
    page = Page(ROOT / "docs" / "mcp.md", tmp_path)
    (server,) = page.blocks("py")
    (page.home / "hello").mkdir()
    (page.home / "hello" / "server.py").write_text(server)
    assert page.type_commands() > 7


def test_the_manifest_it_shows_is_one(readme: Page) -> None:
    for block in readme.blocks("toml"):
        tomllib.loads(block)
        assert parse_toml(block).name == "acme/csv"


def test_the_targets_it_shows_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
)
def test_the_commands_that_need_a_network_are_commands(page: str) -> None:
    """They stand in blocks of ``sh``, which nobody types here: each has a verb and options that exist."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for line in re.findall(r"^mpp-exec (.*)$", block, re.MULTILINE):
            words = shlex.split(line, comments=True)
            verb = words.pop(0)
            if verb in FAMILIES:
                verb = f"{verb} {words.pop(0)}"
            load(verb)[0].read(words)


def test_the_files_it_links_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README):
        assert (ROOT / link).exists(), link
