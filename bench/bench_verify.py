"""How fast is a package of 100 MiB verified, against ``openssl dgst -sha256`` reading the same file?"""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from bench.harness import Contestant, Goal, measure, report
from bench.stage import MPP_TOML, build_static, folder, mpp_exec

SIZE = 100 << 20


def run(*, rounds: int, as_json: bool) -> bool:
    openssl = shutil.which("openssl")
    if openssl is None:
        print("openssl is not installed: no comparison (apt-get install openssl)")
        return True
    with folder() as where:
        source, home, package = where / "source", where / "home", where / "large.mpp"
        build_static(source / "bin" / "answer")
        (source / "mpp.toml").write_text(MPP_TOML, encoding="utf-8")
        with (source / "data.bin").open("wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
        mpp_exec(home, "keygen", "bench")
        mpp_exec(home, "build", str(source), "-o", str(package))
        contestants = [
            Contestant("mpp-exec verification", lambda: _verify(home, package)),
            Contestant(
                "openssl dgst -sha256",
                lambda: subprocess.run(
                    [openssl, "dgst", "-sha256", str(package)], check=True, stdout=subprocess.DEVNULL
                ),
            ),
        ]
        measure(contestants, rounds=max(5, rounds // 20), warm_up=1)
        # At least 0.7 times the speed is at most 1/0.7 times the duration.
        goals = [Goal("mpp-exec verification", "openssl dgst -sha256", 1 / 0.7)]
        return report("verification of a package of 100 MiB", contestants, goals, as_json=as_json)


def _verify(home: Path, package: Path) -> None:
    from mpp_exec import Runtime  # noqa: PLC0415
    from mpp_exec.package.archive import open_package  # noqa: PLC0415
    from mpp_exec.sandbox.kernel import probe  # noqa: PLC0415
    from mpp_exec.trust.verify import verify  # noqa: PLC0415

    with Runtime(home) as runtime, open_package(package) as opened:
        verify(opened, runtime.store.trust_view(), now=datetime.now(UTC), platform=probe().platform)
