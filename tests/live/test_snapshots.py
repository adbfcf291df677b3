"""Sandboxes that are restored from a snapshot: what one that was started would be, and sooner."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventually import until
from hosts import granted, open_door
from mpp_exec.package.manifest import Requirement, RuntimeSpec
from mpp_exec.sandbox import launcher, shelf, snapshot, template
from mpp_exec.sandbox import pool as pool_module
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.pool import Pool
from mpp_exec.sandbox.shelf import Recipe
from mpp_exec.sandbox.snapshot import can_be_saved
from mpp_exec.sandbox.stock import Stock
from sandbox_lab import CACHE, Lab, answer, image_of, restored, run, saved, waits
from self_description import SELF
from stage import NAME, Stage

pytestmark = pytest.mark.skipif(not launcher.saves(), reason="this architecture saves no process")

PLAIN = "def run(**given):\n    return given\n"
MAPS = """
import ctypes, os
def mapped(path, protection, how):
    call = ctypes.CDLL(None).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    file = os.open(path, os.O_RDWR if protection & 2 else os.O_RDONLY)
    at = call(None, 4096, protection, how, file, 0)
    os.close(file)
    return at
"""
# What is made of randomness before there is a call, by everything that could remember it.
RANDOM = """
import os, random, secrets, ssl, sys, tempfile, uuid
import _ssl
ssl.RAND_bytes(16), random.random(), next(tempfile._get_candidate_names()), uuid.uuid1()
at_import = secrets.token_hex(16)
if {deaf}:
    ssl.RAND_add = _ssl.RAND_add = lambda *given: None
def run():
    return [os.urandom(16).hex(), random.random(), random.SystemRandom().random(), ssl.RAND_bytes(16).hex(),
            str(uuid.uuid4()), str(uuid.uuid1()), next(tempfile._get_candidate_names()),
            secrets.token_hex(16)]
"""
BUSY = """
import decimal, json, re, sqlite3, threading, zlib
table = {str(i): [i, str(i)] for i in range(20_000)}
started = threading.get_native_id()
def work():
    kept = [bytearray(4_000) for _ in range(20_000)]
    del kept
    again = [bytes(1 << 20) for _ in range(20)]
    return len(again)
def deep(left):
    return [] if left == 0 else [deep(left - 1)]
def run():
    found = []
    other = threading.Thread(target=lambda: found.append(work()))
    other.start()
    other.join()
    work()
    try:
        {}["missing"]
    except KeyError as error:
        found.append(str(error))
    found.append(sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0])
    found.append(str(decimal.Decimal(1) / 7)[:6])
    found.append(len(repr(deep(900))))
    found.append(table["19999"])
    found.append(threading.get_native_id() == threading.main_thread().native_id)
    found.append(json.loads(zlib.decompress(zlib.compress(b'[1]'))))
    return found
"""


def value(made: Parked) -> Any:
    return answer(run(made.plan, b'{"arguments":{}}', parked=made))["value"]


def asked(lab: Lab, code: str = PLAIN, **given: Any) -> SandboxPlan:
    return lab.python(code, import_once=True, **given)


def test_import_is_made_once_for_all_calls(lab: Lab) -> None:
    compiled = asked(lab, "import time\nat = time.monotonic_ns()\ndef run():\n    return at\n")
    with saved(compiled) as source:
        assert source.serves
        seen = set()
        for _ in range(3):
            made = restored(compiled, source)
            assert (made.state, made.restored_us > 0) == ("ready", True)
            seen.add(value(made))
            made.close()
    assert len(seen) == 1


def test_what_is_restored_goes_on_as_if_it_had_been_started(lab: Lab) -> None:
    """Memory that grows and shrinks, on the heap and beside it; a deep stack, threads, exceptions."""
    compiled = asked(lab, BUSY)
    with saved(compiled) as source:
        made = restored(compiled, source)
        assert value(made) == [20, "'missing'", 42, "0.1428", 1802, [19999, "19999"], True, [1]]
        made.close()


def test_what_is_restored_says_of_itself_what_one_that_was_started_says(lab: Lab) -> None:
    compiled = asked(lab, SELF)
    with saved(compiled) as source:
        mine, other = restored(compiled, source), waits(compiled, None)
        ours, theirs = value(mine), value(other)
        mine.close()
        other.close()
    # One has been told to write itself down; nothing else shows.
    assert ours.pop("orig_argv") == theirs.pop("orig_argv").replace("--parked", "--saved")
    main = set(ours.pop("main")) ^ set(theirs.pop("main"))
    assert ours == theirs
    assert main == set()


@pytest.mark.parametrize("deaf", [False, True])
def test_each_has_random_numbers_of_its_own(lab: Lab, deaf: bool) -> None:
    """Also where OpenSSL is not given any: it sees by its process number that it is in a copy."""
    compiled = asked(lab, RANDOM.replace("{deaf}", str(deaf)))
    seen: list[list[Any]] = []
    with saved(compiled) as source:
        for _ in range(4):
            made = restored(compiled, source)
            seen.append(value(made))
            made.close()
    for column in zip(*seen, strict=True):
        assert len(set(column)) == len(seen), column


@pytest.mark.parametrize("imaged", [False, True])
def test_grants_come_with_the_call(lab: Lab, ground: Path, imaged: bool) -> None:
    (ground / "file").write_text("granted")
    path = str(ground / "file")
    code = f"import os\nearly = os.path.exists({path!r})\n"
    code += f"def run():\n    return [early, open({path!r}).read(), os.environ['MPP_INVOCATION']]\n"
    compiled = asked(lab, code, read=[ground])
    image = image_of(compiled) if imaged else None
    with saved(compiled, image) as source:
        made = restored(compiled, source)
        assert value(made) == [False, "granted", "lab"]
        made.close()


def test_what_it_says_while_it_is_imported_is_said_once(lab: Lab) -> None:
    compiled = asked(lab, "import sys\nsys.stdout.write('early')\ndef run():\n    print('late')\n")
    with saved(compiled) as source:
        made = restored(compiled, source)
        done = run(compiled, b'{"arguments":{}}', parked=made)
        made.close()
    assert done.errors == b"late\n"


@pytest.mark.parametrize(
    "keeps",
    [
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
        "file = open('/tmp/mine', 'w')",
        f"{MAPS}open('/tmp/mine', 'w').truncate(4096)\nat = mapped('/tmp/mine', 3, 1)",
        "1 / 0",
    ],
)
def test_tool_that_cannot_be_restored_is_not_saved(lab: Lab, keeps: str) -> None:
    compiled = asked(lab, f"{keeps}\n{PLAIN}")
    with saved(compiled) as source:
        assert (source.serves, source.is_spoilt) == (False, True)


def test_what_takes_too_much_is_not_saved(lab: Lab) -> None:
    compiled = asked(lab, f"kept = bytes(range(256)) * (64 << 12)\n{PLAIN}")
    with saved(compiled, most=32 << 20) as source:
        assert source.is_spoilt
    with saved(compiled, most=128 << 20) as source:
        assert source.serves
        assert 64 << 20 < source.resident < 100 << 20


def test_nothing_is_saved_without_the_users_agreement(lab: Lab) -> None:
    plain, agreed = lab.python(PLAIN), asked(lab)
    assert not can_be_saved(plain)
    assert can_be_saved(agreed)
    assert not can_be_saved(asked(lab, subprocess=("git",)))
    assert not any("restore" in entry.target or "snapshot" in entry.target for entry in plain.entries)
    assert "/mpp/restore" not in dict(plain.rules)
    assert plain.tool_profile != agreed.tool_profile, "it may move mappings to where it wants them"


def test_file_that_changed_since_is_not_mapped_in_the_place_of_the_old_one(lab: Lab) -> None:
    """An extension module, say: its code is mapped from the file, and its data from the snapshot."""
    code = f"{MAPS}at = mapped('/app/data', 1, 2)\ndef run():\n    return ctypes.string_at(at, 3).decode()\n"
    compiled = asked(lab, code, files={"data": "one"})
    (app,) = (entry.source for entry in compiled.entries if entry.target == "/app")
    with saved(compiled) as source:
        made = restored(compiled, source)
        assert value(made) == "one"
        made.close()
        Path(app, "data").write_text("two!")
        made = restored(compiled, source)
        assert made.state == "ended"
        made.close()


@pytest.fixture
def kept() -> Iterator[Pool]:
    pool = Pool(CACHE, lambda: None)
    yield pool
    pool.close()


def recipe(compiled: SandboxPlan) -> Recipe:
    return Recipe(compiled, "", (), early_start=True)


def lend(pool: Pool, wanted: Recipe) -> bool | None:
    """Make a call; return whether its sandbox was a restored one, None where it was not prepared."""
    with pool.lent(wanted) as made:
        was = made.restored_us > 0 if made is not None else None
        request = json.dumps({"arguments": {}}).encode()
        answer(run(wanted.plan, request, parked=made))
    pool.call_is_over()
    return was


def test_pool_restores_what_it_prepares(lab: Lab, kept: Pool) -> None:
    wanted = recipe(asked(lab))
    lend(kept, wanted)
    lend(kept, wanted)
    assert until(lambda: kept.waiting >= 1)
    assert until(lambda: lend(kept, wanted) is True)


def test_pool_does_without_where_nothing_can_be_restored(
    lab: Lab, kept: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []
    original = snapshot.Snapshot.__init__

    def counted(self: snapshot.Snapshot, *given: Any, **named: Any) -> None:
        begun.append(0)
        original(self, *given, **named)

    monkeypatch.setattr(snapshot.Snapshot, "__init__", counted)
    wanted = recipe(asked(lab, f"file = open('/tmp/mine', 'w')\n{PLAIN}"))
    lend(kept, wanted)
    for _ in range(3):
        lend(kept, wanted)
        assert until(lambda: kept.waiting >= 1)
        assert lend(kept, wanted) is False
    assert len(begun) == 1, "and does not try again at once"


def test_pool_does_without_where_restoring_fails(
    lab: Lab, kept: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that is cut short: what is restored of it dies."""
    original = snapshot.Snapshot._seal

    def cut(self: snapshot.Snapshot) -> None:
        os.ftruncate(self._file, 1 << 16)
        original(self)

    monkeypatch.setattr(snapshot.Snapshot, "_seal", cut)
    wanted = recipe(asked(lab))
    lend(kept, wanted)
    lend(kept, wanted)
    assert until(lambda: kept.waiting >= 1)
    assert lend(kept, wanted) is False
    (only,) = kept._stock.shelves.values()
    assert (only.spoilt, only.failures) == (1, 0)


def test_one_that_is_late_spoils_nothing(lab: Lab, kept: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a call that finds none makes its own, and the next one may find one again."""
    wanted = recipe(asked(lab))
    lend(kept, wanted)
    assert until(lambda: lend(kept, wanted) is True)
    (only,) = kept._stock.shelves.values()
    monkeypatch.setattr(pool_module, "_PATIENCE", 0.0)
    monkeypatch.setattr(shelf.Shelf, "missing", lambda _self, _now: False)
    assert until(lambda: lend(kept, wanted) is None)
    assert only.snapshot is not None
    assert not only.snapshot.is_spoilt


def test_snapshots_are_made_one_at_a_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may come to all the room that is left, and takes a place of those where others are prepared."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    stock = Stock(CACHE, lambda: None, sandboxes=8, memory=1 << 28, keep_images=lambda _: None)
    for _ in range(3):
        wanted = recipe(asked(lab, "import time\ntime.sleep(3600)\n"))
        stock.shelves[wanted.key] = shelf.Shelf(wanted, target=1)
    try:
        for _ in range(2):
            stock.refill(0.0)
            assert [each.is_saving for each in stock.shelves.values()] == [True, False, False]
    finally:
        stock.drop_sources()
        stock.empty()
        stock.close()


def test_snapshot_ends_with_what_it_was_made_under(lab: Lab) -> None:
    now = ["one"]
    pool = Pool(CACHE, lambda: now[0])
    try:
        wanted = dataclasses.replace(recipe(asked(lab)), basis="one")
        lend(pool, wanted)
        assert until(lambda: lend(pool, wanted) is True)
        (only,) = pool._stock.shelves.values()
        source = only.snapshot
        assert source is not None
        now[0] = "two"
        assert until(lambda: not source.serves and source._file == -1)
    finally:
        pool.close()


def test_snapshot_is_of_the_image_that_what_is_restored_gets(lab: Lab) -> None:
    """A package's image is made beside its first calls; its files are others than the installed ones."""
    compiled = asked(lab)
    images: list[Any] = [None]
    only = shelf.Shelf(dataclasses.replace(recipe(compiled), image=lambda: images[0]))
    try:
        assert until(lambda: only.saved(0.0, CACHE, 1 << 30) is not None)
        images[0] = image_of(compiled)
        assert only.saved(0.0, CACHE, 1 << 30) is None
        assert until(lambda: only.saved(0.0, CACHE, 1 << 30) is not None)
        assert only.snapshot is not None
        assert only.snapshot.image is images[0]
        made = only.recipe.begun(CACHE, None, None, only.snapshot)
        assert until(lambda: made.look(100) == "ready")
        made.close()
    finally:
        only.drop_sources()


def test_files_that_changed_while_they_were_imported_are_not_kept(lab: Lab) -> None:
    only = shelf.Shelf(dataclasses.replace(recipe(asked(lab)), unchanged=lambda: False))
    try:
        assert only.saved(0.0, CACHE, 1 << 30) is None
        source = only.snapshot
        assert source is not None
        while source.is_making:
            source.look(100)
        assert source.is_spoilt
        assert only.saved(0.0, CACHE, 1 << 30) is None
        assert only.spoilt == 1
        assert only.no_snapshot_before > 0
    finally:
        only.drop_sources()


def test_snapshot_is_replaced_after_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    only = shelf.Shelf(recipe(asked(lab)))

    def ready() -> snapshot.Snapshot | None:
        return only.saved(0.0, CACHE, 1 << 30)

    try:
        assert ready() is None, "it is being made"
        assert until(lambda: ready() is not None)
        first = only.snapshot
        assert first is not None
        monkeypatch.setattr(snapshot, "COPIES", 2)
        for _ in range(2):
            restored(only.recipe.plan, first).close()
        assert ready() is None
        assert only.snapshot is not first
        assert until(lambda: ready() is not None)
        monkeypatch.setattr(snapshot, "AGE", -1.0)
        second = only.snapshot
        assert ready() is None
        assert only.snapshot is not second
    finally:
        only.drop_sources()
    assert template.COPIES == 256


ASKING = RuntimeSpec("python", requires=(Requirement("python"),), import_once=True)
WHEN = "import time\nat = time.monotonic_ns()\ndef run(**given):\n    return at\n"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    tmp_path.chmod(0o755)
    with Stage(tmp_path) as made:
        yield made


def imported(stage: Stage) -> int:
    """Return when the tool was imported that made this call."""
    structured = stage.runtime.call(NAME).structured
    assert structured is not None
    return int(structured["result"])


def same_twice(stage: Stage) -> bool:
    return imported(stage) == imported(stage)


@pytest.mark.parametrize("files", [{}, {f"p{index}.py": b"" for index in range(80)}], ids=["few", "imaged"])
def test_calls_of_a_runtime_are_served_by_copies(stage: Stage, files: dict[str, bytes]) -> None:
    stage.python(WHEN, runtime=ASKING, files=files)
    assert until(lambda: same_twice(stage))


def test_result_tells_that_its_sandbox_was_restored(stage: Stage) -> None:
    """What that took before the call is beside the stages, and no part of what the call took."""
    stage.python(WHEN, runtime=ASKING)
    first = stage.runtime.call(NAME).meta["mpp-exec/timing"]
    assert "sandbox.restored" not in first
    assert until(lambda: stage.runtime.call(NAME).meta["mpp-exec/timing"].get("sandbox.restored", 0) > 0)


def test_calls_are_made_alone_where_the_user_does_without(stage: Stage) -> None:
    stage.python(WHEN, runtime=ASKING, without=["import_once"])
    seen = [imported(stage) for _ in range(8)]
    assert len(set(seen)) == len(seen)


def test_policy_takes_effect_at_the_next_call(stage: Stage) -> None:
    """What waits was restored under a policy that allowed it: it serves no call under one that does not."""
    stage.python(WHEN, runtime=ASKING)
    assert until(lambda: same_twice(stage))
    last = imported(stage)
    stage.system_policy.write_text("import_once = false\n")
    seen = [imported(stage) for _ in range(8)]
    assert last not in seen
    assert len(set(seen)) == len(seen)


def test_hosts_are_reached_by_what_is_restored(lab: Lab) -> None:
    code = "import socket\ndef run():\n    there = socket.create_connection(('api.example.com', 443), 10)\n"
    compiled = asked(
        lab, f"{code}    return bool(there.recv(1000))\n", network=granted("api.example.com:443")
    )
    with open_door() as door, saved(compiled) as source:
        for _ in range(2):
            made = restored(compiled, source)
            done = run(compiled, b'{"arguments":{}}', parked=made, serve=door.serve)
            made.close()
            assert answer(done)["value"] is True
