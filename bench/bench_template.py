"""What does it take to have a tool ready whose imports are heavy: started, copied, restored from a snapshot?

One package has a few hundred modules of its own and imports much of the standard library. If numpy is
installed, another package contains it. Each sandbox is made until it is ready for its call, and then makes
one.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.bench_parked import _children
from bench.harness import Contestant, facts_of, measure, report
from bench.stage import folder, install_python
from mpp_exec import Runtime
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.snapshot import Snapshot
from mpp_exec.sandbox.template import Template

_READY: Final = 60.0  # seconds within which a sandbox must be ready
_MODULES: Final = 200
_STANDARD: Final = (
    "asyncio, decimal, email.message, http.client, json, sqlite3, ssl, unittest, xml.dom.minidom"
)
_TOOL: Final = """
import {imports}
{own}
def answer(text=""):
    return {{"ok": True}}
"""
_MODULE: Final = """
import dataclasses, re
PATTERN = re.compile(r"(?P<name>[a-z]+{index})-(?P<rest>\\d+)")
TABLE = {{f"key {index} {{i}}": [i, str(i), float(i)] for i in range(200)}}
@dataclasses.dataclass
class Record:
    name: str
    count: int = {index}
    more: dict = dataclasses.field(default_factory=dict)
"""


def run(*, rounds: int, as_json: bool) -> bool:
    kinds = ["pure Python", *(["numpy"] if importlib.util.find_spec("numpy") is not None else [])]
    return all(_measured(kind, max(10, rounds // 2), as_json=as_json) for kind in kinds)


def _measured(kind: str, rounds: int, *, as_json: bool) -> bool:
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(folder())
        home = install_python(where, files=_files(kind), runtime='import_once = true\npath = ["vendor"]\n')
        runtime = stack.enter_context(Runtime(home, parked=0))
        runtime.call("bench/python", "answer", {})
        prepared = stack.enter_context(runtime.preparer.prepared("bench/python", "answer"))
        recipe = prepared.recipe
        template = Template(recipe.plan)
        stack.callback(template.close)
        begun = time.perf_counter()
        snapshot = Snapshot(
            recipe.plan, constants=recipe.constants, cache=runtime.cache, image=None, most=1 << 30
        )
        stack.callback(snapshot.close)
        while snapshot.is_making:
            snapshot.look(100)
        made = time.perf_counter() - begun
        if not snapshot.serves:
            raise RuntimeError("there is no snapshot")
        ways: dict[str, dict[str, Any]] = {
            "started": {},
            "copied": {"template": template},
            "restored": {"snapshot": snapshot},
        }
        used: dict[str, list[float]] = {name: [] for name in ways}

        def one(name: str, source: dict[str, Any]) -> int:
            at = time.perf_counter_ns()
            before = set(_children())
            parked = Parked(
                recipe.plan, constants=recipe.constants, cache=runtime.cache, early_start=True, **source
            )
            until = time.monotonic() + _READY
            while (state := parked.look(5)) == "preparing" and time.monotonic() < until:
                pass
            took = time.perf_counter_ns() - at
            if state != "ready" or parked.is_copied != bool(source):
                raise RuntimeError(f"one that is {name} is {state}")
            used[name].append(sum(map(_processor_ms, set(_children()) - before)))
            parked.close()
            return took

        contestants = [Contestant(name, partial(one, name, source)) for name, source in ways.items()]
        measure(contestants, rounds=rounds)
        facts_of(
            f"a tool with heavy imports, {kind}: what one takes until it is ready",
            {
                **{f"processor time, {name}, ms": round(statistics.median(used[name]), 1) for name in ways},
                "snapshot, MiB": round(snapshot.resident / (1 << 20), 1),
                "to make it, ms": round(made * 1000),
            },
            as_json=as_json,
        )
        return report(
            f"a tool with heavy imports, {kind}: ready for its call", contestants, [], as_json=as_json
        )


def _files(kind: str) -> Iterator[tuple[str, bytes]]:
    if kind == "numpy":
        yield "tool.py", _TOOL.format(imports="json, numpy, ssl", own="").encode()
        for file in importlib.metadata.files("numpy") or ():
            if ".." not in file.parts and "__pycache__" not in file.parts and "tests" not in file.parts:
                yield f"vendor/{file}", Path(str(file.locate())).read_bytes()
        return
    own = "\n".join(f"import own.part{index}" for index in range(_MODULES))
    yield "tool.py", _TOOL.format(imports=_STANDARD, own=own).encode()
    yield "vendor/own/__init__.py", b""
    for index in range(_MODULES):
        yield f"vendor/own/part{index}.py", _MODULE.format(index=index).encode()


def _processor_ms(pid: int) -> float:
    """Return the processor time of a process and its threads so far, in ms."""
    total = 0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e6
