"""Boots Debian's kernels under software emulation, runs the project's tests inside: ``make test-kernels``."""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

from kernels import debian, image, machine

_NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mke2fs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "cc": "gcc",
}


def main() -> int:
    """Return 0 where every kernel passed everything."""
    given = _arguments()
    cache = image.PROJECT / "build" / "kernels"
    cache.mkdir(parents=True, exist_ok=True)
    listed = tomllib.loads((image.HERE / "kernels.toml").read_text(encoding="utf-8"))
    tests = given.tests or listed["tests"]["short"] + ([] if given.short else listed["tests"]["long"])
    kernels = [each for each in listed["kernel"] if not given.kernel or each["name"] in given.kernel]
    failed = [name for name in given.kernel or () if name not in {each["name"] for each in kernels}]
    try:
        debian.need(_NEEDED)
        with image.alone(cache):
            system = image.system_disk(listed["guest"]["packages"], cache)
            needs_it = any("guest_long" in test for test in tests)
            apparmor = debian.fetch_from(**listed["apparmor"], cache=cache) if needs_it else None
    except debian.UnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for kernel in kernels:
        try:
            facts = {**kernel, "tests": tests, "identities": given.identity or ["root", "user"]}
            passed = _passed(facts, listed["guest"], (system, apparmor), cache)
        except debian.UnavailableError as error:
            print(f"error: {error}", file=sys.stderr)
            passed = False
        if not passed:
            failed.append(kernel["name"])
    if failed:
        print(f"error: failed on Linux {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _passed(
    kernel: dict[str, Any], guest: dict[str, Any], made: tuple[Path, Path | None], cache: Path
) -> bool:
    system, apparmor = made
    name = kernel["name"]
    unpacked = debian.fetch_kernel(name, kernel["packages"], cache)
    print(f"== Linux {name}: {unpacked.name}", flush=True)
    booted, ramdisk = image.ramdisk(unpacked, cache)
    ended = machine.run(
        machine.Boot(
            kernel=booted,
            ramdisk=ramdisk,
            system=system,
            project=image.project_disk(kernel, apparmor, cache),
            memory=guest["memory"],
            processors=guest["processors"],
            deadline=guest["deadline"],
        ),
        cache / f"{name}.log",
        sys.stdout,
    )
    what = "passed" if ended.passed else f"failed: {ended.fault or f'status {ended.status}'}"
    print(f"== Linux {name}: {what}, {ended.seconds:.0f} s", flush=True)
    return ended.passed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make test-kernels", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the set that CI runs")
    parser.add_argument("--kernel", action="append", help="this one only; may be repeated")
    parser.add_argument(
        "--as", dest="identity", action="append", choices=("root", "user"), help="as this one only"
    )
    parser.add_argument("tests", nargs="*", help="run these instead, as pytest takes them")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
