"""Programs of other languages do what programs do: files, threads, timers, under the default limits."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mpp_exec.permissions import Limits
from sandbox_lab import Lab, run

NODE = """
const fs = require("fs"), {Worker} = require("worker_threads"), crypto = require("crypto");
const seen = {};
const attempt = async (name, work) => {
    try { seen[name] = await work(); } catch (error) { seen[name] = String(error.code || error); }
};
const ended = stream => new Promise((done, failed) => stream.on("finish", done).on("error", failed));
(async () => {
    await attempt("write", () => { fs.writeFileSync("a", "hello"); return fs.readFileSync("a", "utf8"); });
    await attempt("copy", () => { fs.copyFileSync("a", "b"); return fs.readFileSync("b", "utf8"); });
    await attempt("stream", async () => {
        await ended(fs.createReadStream("a").pipe(fs.createWriteStream("c")));
        return fs.statSync("c").size;
    });
    await attempt("times", () => { fs.utimesSync("a", 1, 1); return fs.statSync("a").mtimeMs; });
    await attempt("worker", () => new Promise((done, failed) => {
        const worker = new Worker("require('worker_threads').parentPort.postMessage(5)", {eval: true});
        worker.on("message", done).on("error", failed);
    }));
    await attempt("timer", () => new Promise(done => setTimeout(() => done("rang"), 1)));
    await attempt("pool", () => new Promise(done => {
        crypto.scrypt("a", "b", 16, (_, key) => done(key.length));
    }));
    await attempt("spawn", () => require("child_process").spawnSync("/bin/true").error.code);
    console.log(JSON.stringify(seen));
})();
"""

RUST = """
use std::{fs, sync::mpsc, thread, time::Duration};
fn main() -> std::io::Result<()> {
    fs::create_dir("d")?;
    fs::write("d/a", "hello")?;
    fs::copy("d/a", "d/b")?;
    fs::rename("d/b", "d/c")?;
    let (sender, receiver) = mpsc::channel();
    for number in 0..4 {
        let sender = sender.clone();
        thread::spawn(move || sender.send(number).unwrap());
    }
    drop(sender);
    let sum: i32 = receiver.iter().sum();
    thread::sleep(Duration::from_millis(1));
    let refused = std::process::Command::new("/bin/true").status().is_err();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").is_err();
    println!("[\\"{}\\", {}, {}, {}]", fs::read_to_string("d/c")?, sum, refused, socket);
    fs::remove_dir_all("d")
}
"""


def test_node(lab: Lab) -> None:
    if shutil.which("node") is None:
        pytest.skip("this host has no node")
    done = run(lab.program(None, "node", "/app/x.js", files={"x.js": NODE}, requires=("node",)))
    assert done.outcome == "ok", done.errors
    assert json.loads(done.output) == {
        "write": "hello",
        "copy": "hello",
        "stream": 5,
        "times": 1000,
        "worker": 5,
        "timer": "rang",
        "pool": 16,
        "spawn": "ENOSYS",
    }


def test_static_rust_program(lab: Lab, tmp_path: Path) -> None:
    if shutil.which("rustc") is None:
        pytest.skip("this host has no rustc")
    source, program = tmp_path / "tool.rs", tmp_path / "tool"
    source.write_text(RUST)
    options = ["-O", "-C", "target-feature=+crt-static"]
    subprocess.run(["rustc", *options, "-o", str(program), str(source)], check=True, capture_output=True)
    done = run(lab.program(program, limits=Limits(memory=64 << 20)))
    assert done.outcome == "ok", done.errors
    assert json.loads(done.output) == ["hello", 6, True, True]


def test_static_threads_of_c(lab: Lab, probe: Path) -> None:
    """As many as the limit allows, and then one is refused."""
    done = run(lab.program(probe, "threads", limits=Limits(processes=8)))
    assert done.output == b"7"
