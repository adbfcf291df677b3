"""The whole way with a real tool over real files: ``make demo``.

Builds, signs, installs, approves and calls ``examples/codesearch`` over this repository, through the
``mpp-exec`` command and in a home of its own, and shows what is refused. Exits with a status other than 0 if
anything is not as the demo says.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "examples" / "codesearch"
COMMAND = shutil.which("mpp-exec", path=str(Path(sys.executable).parent))
WORK = {"pattern": r"def \w+", "glob": "*.py", "limit": 500, "folder": str(ROOT / "tests")}
ROUNDS = 5
SAME_WORK = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); import codesearch; "
    "print(json.dumps(codesearch.search(**json.loads(sys.argv[2]))))"
)


class Demo:
    """The steps, in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {**os.environ, "MPP_HOME": str(folder / "home"), "NO_COLOR": "1"}
        self.environment.pop("MPP_POLICY", None)

    def command(self, *words, code=0):
        """Run ``mpp-exec WORDS``; any exit code other than *code* ends the demo."""
        done = subprocess.run(
            [COMMAND, *words],
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            check=False,
        )
        if done.returncode != code:
            fail(
                f"mpp-exec {' '.join(words)}: exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
            )
        return done

    def make(self):
        """Build, sign, install, approve."""
        title("A tool is built, signed, installed and approved")
        show("mpp-exec keygen demo")
        self.command("keygen", "demo")
        show("mpp-exec build examples/codesearch")
        package = self.folder / self.command("build", str(TOOL)).stdout.strip()
        show(f"mpp-exec install {package.name} --approve --set source_dir={ROOT}")
        said = self.command("install", str(package), "--approve", "--set", f"source_dir={ROOT}").stderr
        lines = said.splitlines()
        start = lines.index("it may:")
        tell(*(line.strip() for line in lines[start : start + 4]), "…")
        expect(f"read {ROOT} and everything below it" in said, "the approval names the final path")
        return package

    def search(self):
        """Call the tool over this repository."""
        title("It searches this repository, which it was granted, in a sandbox of its own")
        show("mpp-exec run demo/codesearch search pattern='^class [A-Z]' glob='*.py' limit=5")
        done = self.command(
            "run", "demo/codesearch", "search", "pattern=^class [A-Z]", "glob=*.py", "limit=5"
        )
        found = json.loads(done.stdout)
        tell(*(f"{each['path']}:{each['line']}: {each['text']}" for each in found["matches"]))
        tell(f"({found['files_searched']} files searched)")
        expect(found["matches"], "there are matches")

    def redact(self):
        """Show that a secret in the results does not get out."""
        title("What it finds is redacted before anybody sees it")
        raw = (ROOT / "examples" / "settings" / "deploy.env").read_text()
        show("cat examples/settings/deploy.env")
        tell(*raw.splitlines()[1:])
        show("mpp-exec run demo/codesearch search pattern='KEY_ID|ALERTS' glob=deploy.env")
        done = self.command("run", "demo/codesearch", "search", "pattern=KEY_ID|ALERTS", "glob=deploy.env")
        tell(*(each["text"] for each in json.loads(done.stdout)["matches"]))
        tell(*(line for line in done.stderr.splitlines() if line.startswith("redacted:")))
        secret = raw.partition("KEY_ID=")[2].splitlines()[0]
        expect("[SECRET]" in done.stdout and "[EMAIL]" in done.stdout, "both are masked")
        expect(secret not in done.stdout + done.stderr, "the secret does not appear anywhere")

    def tamper(self, package):
        """Show that one changed byte is enough for a refusal."""
        title("A copy with one byte changed is refused")
        copy = self.folder / "tampered.mpp"
        data = bytearray(package.read_bytes())
        data[data.index(b"def search(")] ^= 1
        copy.write_bytes(data)
        show("mpp-exec install tampered.mpp")
        done = self.command("install", str(copy), code=3)
        tell(*done.stderr.splitlines())
        expect("package.digest_mismatch" in done.stderr, "it is the digest that does not match")

    def deny(self):
        """Show that a file outside the grant does not exist for the tool."""
        outside = next(
            path for path in ("/etc/os-release", "/etc/shells", "/usr/bin/env") if Path(path).exists()
        )
        title(f"{outside} was not granted: inside, it does not exist")
        show(f"mpp-exec run demo/codesearch read path={outside}")
        done = self.command("run", "demo/codesearch", "read", f"path={outside}", code=1)
        tell(*done.stdout.splitlines())
        expect("FileNotFoundError" in done.stdout, "the tool does not see it")
        expect("is not granted to demo/codesearch" in done.stdout, "whoever called it is told why")

    def record(self):
        """Show the ledger."""
        title("All of it is on the record")
        show("mpp-exec audit list; mpp-exec audit verify")
        for entry in json.loads(self.command("audit", "list", "--json").stdout):
            if entry["kind"] in ("start", "refused"):
                tell(f"{entry['at']}  {entry['terms']['tool']:<8}{entry['outcome']}")
        tell(*self.command("audit", "verify").stdout.splitlines())

    def measure(self):
        """Time the same work with and without a sandbox, alternately."""
        title("What it costs: the same search, in the sandbox and without one")
        sandboxed, plain, found = [], [], []
        for _ in range(ROUNDS):
            done = self.command("run", "demo/codesearch", "search", "--args", json.dumps(WORK), "--json")
            result = json.loads(done.stdout)
            stages = result["_meta"]["mpp-exec/timing"]
            sandboxed.append(
                sum(us for stage, us in stages.items() if not stage.startswith("sandbox.")) / 1000
            )
            begin = time.perf_counter()
            words = [
                sys.executable,
                "-I",
                "-S",
                "-B",
                "-c",
                SAME_WORK,
                str(TOOL),
                json.dumps(WORK),
            ]
            outside = subprocess.run(words, capture_output=True, check=True)
            plain.append((time.perf_counter() - begin) * 1000)
            found = [result["structuredContent"], json.loads(outside.stdout)]
        expect(len(found[0]["matches"]) == len(found[1]["matches"]), "both found the same number of lines")
        ours, theirs = statistics.median(sandboxed), statistics.median(plain)
        tell(f"verified, sandboxed, redacted, on record   {ours:7.1f} ms   (the call; median of {ROUNDS})")
        tell(
            f"python3, no sandbox                        {theirs:7.1f} ms   (the process; median of {ROUNDS})"
        )


def title(text):
    """Begin a step."""
    print(f"\n{text}", flush=True)


def show(text):
    """Print a command line."""
    print(f"  $ {text}", flush=True)


def tell(*lines):
    """Print a result."""
    for line in lines:
        print(f"    {line}", flush=True)


def expect(held, what):
    """End the demo unless *held*."""
    if not held:
        fail(f"this should hold, and does not: {what}")


def fail(what):
    """End the demo."""
    sys.exit(f"error: {what}")


def main():
    """Show everything."""
    if COMMAND is None:
        fail("there is no mpp-exec beside this interpreter: run make demo")
    with tempfile.TemporaryDirectory(prefix="mpp-exec-demo-") as folder:
        demo = Demo(Path(folder))
        package = demo.make()
        demo.search()
        demo.redact()
        demo.tamper(package)
        demo.deny()
        demo.record()
        demo.measure()
    print("\nEverything was as it should be.")


if __name__ == "__main__":
    main()
