"""What does a call of a static program on demand cost, by name through the whole pipeline?

It is compared with bare C that sets up the same namespaces, id maps, mounts, Landlock and seccomp but checks
nothing, and with other sandboxes that run the same program. The call also verifies the package, checks the
arguments, applies limits, redacts, and commits to the ledger.
"""

from __future__ import annotations

from contextlib import ExitStack

from bench import outside
from bench.harness import Contestant, Goal, measure, report
from bench.stage import folder, install_answer
from mpp_exec import Runtime

CALL = "mpp-exec, on demand"


def run(*, rounds: int, as_json: bool) -> bool:
    with folder() as where, ExitStack() as stack:
        home, program = install_answer(where)
        floor = str(outside.compiled(where))
        runtime = stack.enter_context(Runtime(home, parked=0))

        def call() -> None:
            result = runtime.call("bench/answer", "answer", {})
            if result.structured != {"ok": True}:
                raise RuntimeError(f"the call answered {result}")

        contestants = [Contestant(CALL, call)]
        for name, mode in (
            ("C: vfork, exec", "plain"),
            ("C: and namespaces", "namespaces"),
            ("C: and maps, mounts, Landlock, seccomp", "sandbox"),
        ):
            served = stack.enter_context(outside.Served([floor, mode, str(program)]))
            contestants.append(Contestant(name, served.one))
        others = []
        for name, command in (
            ("bubblewrap", outside.bubblewrap(program)),
            ("nsjail", outside.nsjail(program)),
        ):
            if command is not None and outside.works(command):
                contestants.append(Contestant(name, outside.command(command)))
                others.append(name)
        if outside.has_sandlock():
            served = stack.enter_context(outside.Served(outside.sandlock(program)))
            contestants.append(Contestant("sandlock", served.one))
            others.append("sandlock")
        measure(contestants, rounds=rounds)
        goals = [Goal(CALL, "C: and maps, mounts, Landlock, seccomp", 1.3)]
        goals += [Goal(CALL, name, 1 / 3) for name in others]
        return report("a call on demand of a static program", contestants, goals, as_json=as_json)
