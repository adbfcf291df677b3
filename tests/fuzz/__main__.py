"""Fuzz the readers: ``make fuzz`` runs each target for a while, coverage-guided (atheris, libFuzzer).

Each target runs in a process of its own. What it learns is kept in ``build/fuzz/TARGET`` and begun
from next time. A finding is minimised, printed and left there; once it is mended, it belongs into
``tests/fuzz/found/TARGET``, where every test run replays it.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
ONE_INPUT_SECONDS = 20
MEMORY_MIB = 1024


def _fuzz_here(name: str, options: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris  # noqa: PLC0415 -- an extra that only this needs

    # jsonschema_rs, cbor2 and the parsers of the standard library are called, not explored.
    with atheris.instrument_imports(include=["mpp_exec", "tomllib"]):
        from fuzz.mutations import mutate  # noqa: PLC0415 -- instrumented as it is imported
        from fuzz.targets import TARGETS  # noqa: PLC0415

    target = TARGETS[name]

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        return mutate(
            data,
            max_size,
            seed,
            form=target.form,
            skip=target.skip,
            fallback=atheris.Mutate,
        )

    arguments = [sys.argv[0], *options, f"-max_len={target.max_size}"]
    if target.form in ("cbor", "json"):
        atheris.Setup(arguments, target, custom_mutator=mutator)
    else:
        atheris.Setup(arguments, target)
    atheris.Fuzz()


def _replay(name: str, path: str) -> int:
    """Run one input within its bounds of processor time and memory; 0 if that is no finding."""
    from fuzz.targets import TARGETS  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_CPU, (ONE_INPUT_SECONDS, ONE_INPUT_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MIB << 20, MEMORY_MIB << 20))
    TARGETS[name](Path(path).read_bytes())
    return 0


def _repeats(name: str, finding: Path) -> str:
    """Return how *finding* ends when it is run again, "" if nothing happens: the machine stood still then."""
    command = [sys.executable, "-m", "fuzz", "--replay", name, str(finding)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    return "" if done.returncode == 0 else f"exit {done.returncode}: {last[0][:200]}"


def _failure(name: str, data: bytes) -> str:
    """Return what *data* fails with and where, or "" if it does not."""
    from fuzz.targets import TARGETS  # noqa: PLC0415

    try:
        TARGETS[name](data)
    except Exception as error:  # noqa: BLE001 -- that is what is looked for
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return f"{type(error).__name__} at {trace.tb_frame.f_code.co_qualname if trace else '?'}"
    return ""


def _smaller(data: bytes) -> Iterator[bytes]:
    size = len(data)
    while size >= 1:
        for start in range(0, len(data), size):
            yield data[:start] + data[start + size :]
        size //= 2


def _minimised(name: str, data: bytes) -> bytes:
    """Return a smallest input that raises what *data* raises."""
    failure = _failure(name, data)
    found = bool(failure)
    while found:
        found = False
        for candidate in _smaller(data):
            if _failure(name, candidate) == failure:
                data, found = candidate, True
                break
    return data


def _run(name: str, seconds: int, seed: int) -> list[Path]:
    """Fuzz one target; return the minimised findings."""
    from fuzz.seeds import CORPUS, FOUND  # noqa: PLC0415 -- not in the process that instruments what it imports

    learned, findings = BUILD / name / "corpus", BUILD / name / "findings"
    for folder in (learned, findings):
        folder.mkdir(parents=True, exist_ok=True)
    begun_from = [folder / name for folder in (CORPUS, FOUND) if (folder / name).is_dir()]
    options = [
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={ONE_INPUT_SECONDS}"),
        *(f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={findings}/", "-print_final_stats=1"),
        *map(str, [learned, *begun_from]),
    ]
    before = set(findings.iterdir())
    with (BUILD / name / "log").open("w") as log:
        command = [sys.executable, "-m", "fuzz", "--one", name, "--", *options]
        code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    text = (BUILD / name / "log").read_text(errors="replace")
    executed = text.rpartition("stat::number_of_executed_units:")[2].split()[:1] or ["?"]
    new = sorted(set(findings.iterdir()) - before)
    kept = []
    for finding in new:
        ends = _repeats(name, finding)
        smallest = (
            _minimised(name, finding.read_bytes()) if ends.startswith("exit 1:") else finding.read_bytes()
        )
        finding.unlink()
        if ends:
            kept.append(findings / hashlib.sha256(smallest).hexdigest()[:16])
            kept[-1].write_bytes(smallest)
            print(f"{kept[-1]}: {ends}")
    print(
        f"{name:10} {executed[0]:>9} inputs  {f'{len(kept)} findings' if kept else 'nothing found'}",
        flush=True,
    )
    if code != 0 and not new:
        print(text[-2000:])
        raise SystemExit(f"{name}: the fuzzer itself failed")
    return kept


def main() -> int:
    """Run the targets named on the command line, or all."""
    if sys.argv[1:2] == ["--one"]:
        _fuzz_here(sys.argv[2], sys.argv[4:])
    if sys.argv[1:2] == ["--replay"]:
        return _replay(sys.argv[2], sys.argv[3])
    from fuzz.targets import TARGETS  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="make fuzz", description="fuzz the readers")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs learned")
    chosen = parser.parse_args()
    if unknown := set(chosen.targets) - set(TARGETS):
        parser.error(f"no target is called {' or '.join(sorted(unknown))}")
    found = []
    for name in chosen.targets or TARGETS:
        if chosen.fresh:
            shutil.rmtree(BUILD / name, ignore_errors=True)
        found += _run(name, chosen.seconds, chosen.seed)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
