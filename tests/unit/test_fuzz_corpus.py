"""The corpora of the fuzzers, replayed: what fuzzing begins from, and everything that it ever found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fuzz import targets
from fuzz.mutations import mutate
from fuzz.seeds import CORPUS, FOUND, write
from fuzz.targets import TARGETS


def inputs(name: str) -> Iterator[Path]:
    for folder in (CORPUS / name, FOUND / name):
        if folder.is_dir():
            yield from sorted(folder.iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_is_read_or_refused(name: str) -> None:
    replayed = list(inputs(name))
    assert replayed
    for path in replayed:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_are_read_or_refused(name: str) -> None:
    """A little fuzzing without coverage, the same in every run; also of what is cut off."""
    target = TARGETS[name]
    chance = random.Random(name)
    seeds = [path.read_bytes() for path in inputs(name)]

    def flipped(data: bytes, _max_size: int) -> bytes:
        raw = bytearray(data or b"\0")
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        return bytes(raw)

    for seed in range(60):
        data = chance.choice(seeds)
        target(data[: chance.randrange(len(data) + 1)])
        target(mutate(data, 1 << 16, seed, form=target.form, skip=target.skip, fallback=flipped))


def test_corpus_is_what_its_script_makes(tmp_path: Path) -> None:
    write(tmp_path / "made")
    made = {path.relative_to(tmp_path / "made"): path for path in (tmp_path / "made").rglob("*")}
    kept = {path.relative_to(CORPUS): path for path in CORPUS.rglob("*")}
    assert made.keys() == kept.keys()
    for name, path in made.items():
        assert path.is_dir() or path.read_bytes() == kept[name].read_bytes(), f"{name}: python -m fuzz.seeds"
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_corpora_stay_small() -> None:
    files = [path for folder in (CORPUS, FOUND) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200 * 1024


def test_reader_that_writes_is_a_finding(tmp_path: Path) -> None:
    """The watch itself: what a reader must not do is seen when it does it."""
    (tmp_path / "x").touch()
    forbidden: tuple[Callable[[bytes], object], ...] = (
        (tmp_path / "y").write_bytes,
        lambda _: (tmp_path / "x").unlink(),
        lambda _: (tmp_path / "z").mkdir(),
    )
    for change in forbidden:
        with pytest.raises(AssertionError, match="a reader did"):
            targets.Target(change)(b"")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    targets.Target(lambda _: (tmp_path / "x").read_bytes())(b"")
