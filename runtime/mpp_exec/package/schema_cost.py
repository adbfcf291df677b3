"""How long validating may take, known before it is begun.

A validator written in Rust cannot be interrupted, so its time is bounded by counting. One *unit* is
one simple keyword applied once, about 20 ns. For a schema, :class:`Cost` gives the most units that
any one location of an instance can cost; an instance costs at most that much for each of its values.

How often a subschema is applied to a location follows from how often its parents were: in-place
applicators multiply within a location, and what is applied to the children of a location multiplies
from level to level. ``f(d, s)`` is the most that any location at most *d* levels below an
application of *s* can cost because of it::

    f(0, s) = sum of k * own(t)             over the closure of s: t applied in place, k times
    f(d, s) = max(f(0, s), max over children c: sum of k * f(d-1, u) for each u that t applies to c)

The recursion ends where it no longer grows, or with the deepest instance there can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from mpp_exec.errors import PackageError
from mpp_exec.package.schema_graph import Graph, Node, refusal

MAX_INSTANCE_DEPTH: Final = 64
"""Nested containers of a value that is validated at all."""
MAX_WORK: Final = 50_000
"""Units that one location may cost: a thousand values are then validated within a second."""
MAX_PROGRAMS: Final = 1024 * 1024
"""Bytes of compiled patterns that may run over one string."""
BUDGET: Final = 100_000_000
"""Units that validating one value may cost: some two seconds, if the schema is as bad as it can be."""

# Matching is linear in program times text: at worst 0.5 ns for each byte of the one and character
# of the other.
_BYTES_PER_UNIT: Final = 40
_LONG_STRING: Final = 4_096
_MAX_EDGES: Final = 30_000  # visited in each round of the recursion

_MAX_CHAIN: Final = 200  # subschemas in place of one another: this code recurses along them

_HINT: Final = (
    "repeat less: fewer alternatives that apply to the same value, no recursion through more than one"
)

_Closure = list[tuple[Node, int]]


class Effort:
    r"""What checking schemas may take, all schemas of a package together: about two seconds of each kind.

    *size* counts bytes of JSON; *escapes* the square of the class escapes (``\d``, ``\w``, …) of each
    pattern, since compiling translates them one by one; *programs* bytes of compiled patterns;
    *visits* how many subschemas computing the bounds looks at.
    """

    def __init__(self) -> None:
        self._left = {
            "size": 2 * 1024 * 1024,
            "escapes": 40_000,
            "programs": 8 * 1024 * 1024,
            "visits": 4_000_000,
        }

    def spend(self, kind: str, amount: int, where: str) -> None:
        """Take *amount*; raise ``schema.too_complex`` when there is no more of it."""
        self._left[kind] -= amount
        if self._left[kind] < 0:
            raise refusal("too_complex", where, "is more than a package may ask to be checked", _HINT)


class Cost:
    """The bounds of one schema.

    Attributes:
        work: units that any one location of an instance may cost.
        programs: bytes of compiled patterns that may run over any one string.
    """

    def __init__(self, graph: Graph, *, where: str, effort: Effort) -> None:
        """Compute them.

        Raises:
            PackageError: ``schema.endless`` for a schema that applies itself to the same location,
                ``schema.too_complex`` for one that is beyond the bounds.
        """
        self._where = where
        self._closures: dict[Node, _Closure] = {}
        self._effort = effort
        self._edges = 0
        self._root = graph.root
        waiting = [graph.root]
        while waiting:
            node = waiting.pop()
            if node not in self._closures or node is graph.root:
                for applied, _ in self._closure(node, set()):
                    waiting += [child for child in applied.children() if child not in self._closures]
        self.work = self._bound(lambda node: node.work + len(node.patterned), MAX_WORK)
        self.programs = self._bound(lambda node: node.programs, MAX_PROGRAMS)

    def _closure(self, node: Node, above: set[Node]) -> _Closure:
        """Return what an application of *node* applies to the same location, and how often each."""
        known = self._closures.get(node)
        if known is not None:
            return known
        if node in above:
            raise refusal(
                "endless",
                self._where,
                f"the subschema at {node.pointer or 'the root'} applies itself to the same value",
                "recursion has to pass through properties or items",
            )
        if len(above) > _MAX_CHAIN:
            raise self._too_complex("too many subschemas lead to one another")
        above.add(node)
        times = {node: 1}
        for inner, factor in node.in_place:
            for applied, count in self._closure(inner, above):
                times[applied] = times.get(applied, 0) + factor * count
                if times[applied] > MAX_WORK:
                    raise self._too_complex("a subschema applies too often to the same value")
        above.discard(node)
        self._edges += sum(1 + applied.fan_out for applied in times)
        if self._edges > _MAX_EDGES:
            raise self._too_complex("too many subschemas apply to the same values")
        return self._closures.setdefault(node, list(times.items()))

    def _bound(self, own: Callable[[Node], int], limit: int) -> int:
        here = {
            node: sum(count * own(applied) for applied, count in closure)
            for node, closure in self._closures.items()
        }
        bound = dict(here)
        for _ in range(MAX_INSTANCE_DEPTH):
            self._effort.spend("visits", self._edges, self._where)
            deeper = {
                node: max(here[node], self._below(closure, bound, here))
                for node, closure in self._closures.items()
            }
            if deeper == bound:
                break
            bound = deeper
            if bound[self._root] > limit:
                break
        if bound[self._root] > limit:
            raise self._too_complex("validating a value of it could take too long")
        return bound[self._root]

    def _too_complex(self, what: str) -> PackageError:
        return refusal("too_complex", self._where, what, _HINT)

    @staticmethod
    def _below(closure: _Closure, bound: dict[Node, int], here: dict[Node, int]) -> int:
        """Return the most that one child of a location costs to which *closure* is applied."""

        def of(node: Node | None) -> int:
            return bound[node] if node is not None else 0

        every_property = every_item = 0
        names: dict[str, int] = {"": 0}
        positions: dict[int, int] = {0: 0}
        for node, count in closure:
            unevaluated = sum(map(of, node.unevaluated))
            rest = of(node.additional) + unevaluated
            # A name is a string and has no children; how many patterns match a name is not looked at.
            every_property += count * (
                rest + sum(map(of, node.patterned)) + (here[node.names] if node.names else 0)
            )
            for name, inner in node.named.items():
                names[name] = names.get(name, 0) + count * (bound[inner] - rest)
            rest = of(node.items) + unevaluated
            every_item += count * (rest + of(node.contains))
            for position, inner in enumerate(node.prefix):
                positions[position] = positions.get(position, 0) + count * (bound[inner] - rest)
        return max(every_property + max(names.values()), every_item + max(positions.values()))

    def programs_at(self, path: Sequence[str | int]) -> int:
        """Return the bytes of patterns that may run over the value at *path* of an instance."""
        applied: dict[Node, int] = {self._root: 1}
        for step in path:
            below: dict[Node, int] = {}
            for start, times in applied.items():
                for node, count in self._closures[start]:
                    for inner in _applied_to(node, step):
                        below[inner] = below.get(inner, 0) + times * count
            applied = below
        return sum(
            times * count * node.programs
            for start, times in applied.items()
            for node, count in self._closures[start]
        )

    def of(self, value: Any) -> int | None:
        """Return the units that validating *value* costs at most; None if it is nested too deep.

        Counting ends where the budget does: beyond it, the number says only that it is beyond.
        """
        values = characters = long_strings = 0
        # Each value with its depth and its path, a chain of (path of the parent, step).
        waiting: list[tuple[Any, int, Any]] = [(value, 0, None)]
        enough = BUDGET // self.work
        while waiting and values <= enough:
            item, depth, path = waiting.pop()
            values += 1
            if isinstance(item, str):
                if self.programs and len(item) > _LONG_STRING:
                    long_strings += len(item) * self.programs_at(_unchain(path))
                else:
                    characters += len(item)
            elif isinstance(item, (dict, list, tuple)):
                if depth >= MAX_INSTANCE_DEPTH:
                    return None
                depth += 1
                if not isinstance(item, dict):
                    waiting += [(inner, depth, (path, step)) for step, inner in enumerate(item)]
                    continue
                characters += sum(map(len, item))
                waiting += [(inner, depth, (path, step)) for step, inner in item.items()]
        return (
            values * self.work + characters + (characters * self.programs + long_strings) // _BYTES_PER_UNIT
        )


def _unchain(path: Any) -> list[str | int]:
    steps: list[str | int] = []
    while path is not None:
        path, step = path
        steps.append(step)
    steps.reverse()
    return steps


def _applied_to(node: Node, step: str | int) -> list[Node]:
    """Return the subschemas that *node* may apply to the child at *step*."""
    if isinstance(step, int):
        inner = node.prefix[step] if step < len(node.prefix) else node.items
        return [each for each in (inner, node.contains, *node.unevaluated) if each is not None]
    if step in node.named:
        return [node.named[step], *node.patterned]
    return [each for each in (node.additional, *node.patterned, *node.unevaluated) if each is not None]
