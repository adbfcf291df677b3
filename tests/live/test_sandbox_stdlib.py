"""The standard library inside: what a mount, Landlock, seccomp or a limit would break shows by its name."""

from __future__ import annotations

from sandbox_lab import Lab, call

STDLIB = """
def try_json():
    import json
    return json.loads(json.dumps({"a": [1, "é"]}))["a"]

def try_re():
    import re
    return re.sub("([a-z]+)", "<x>", "1 abc")

def try_sqlite3():
    import sqlite3
    connection = sqlite3.connect("/tmp/x.db")
    connection.execute("create table t(a)")
    connection.execute("insert into t values (5)")
    connection.commit()
    return connection.execute("select a from t").fetchone()[0]

def try_zlib_bz2_lzma():
    import bz2, lzma, zlib
    return zlib.decompress(zlib.compress(lzma.decompress(lzma.compress(bz2.compress(b"x")))))[:2].decode()

def try_hashlib():
    import hashlib
    return hashlib.sha256(b"").hexdigest()[:8]

def try_ssl():
    import ssl
    return ssl.create_default_context().verify_mode.name

def try_threading():
    import threading
    out = []
    thread = threading.Thread(target=out.append, args=("x",))
    thread.start()
    thread.join()
    return out

def try_asyncio():
    import asyncio
    return asyncio.run(asyncio.to_thread(int, "5")) + asyncio.run(asyncio.sleep(0, 1))

def try_futures():
    from concurrent import futures
    return sum(futures.ThreadPoolExecutor(4).map(int, "123"))

def try_tempfile():
    import os, pathlib, tempfile
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
        file.flush()
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "a").write_text("b")
    return [os.path.dirname(file.name), os.path.exists(folder)]

def try_shutil():
    import shutil
    shutil.copytree("/app", "/tmp/c")
    shutil.copy2("/tmp/c/tool.py", "/tmp/b")
    return open("/tmp/b").readline()

def try_mmap():
    import mmap
    memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE)
    memory[:2] = b"hi"
    return memory[:2].decode()

def try_vectors():
    import os
    with open("/tmp/v", "w+b") as file:
        os.posix_fallocate(file.fileno(), 0, 8)
        os.pwritev(file.fileno(), [b"he", b"llo"], 0)
        os.preadv(file.fileno(), [first := bytearray(2), rest := bytearray(3)], 0)
    return (first + rest).decode()

def try_disk_usage():
    import shutil
    try:
        return shutil.disk_usage("/app").total
    except OSError as error:
        return error.strerror

def try_names():
    import os
    return [os.pathconf("/tmp", "PC_NAME_MAX"), os.cpu_count() > 0]

def try_ctypes():
    import ctypes
    return ctypes.CDLL(None).abs(-5)

def try_subprocess():
    import subprocess
    try:
        subprocess.run(["/bin/true"])
    except OSError as error:
        return error.strerror

def try_multiprocessing():
    import multiprocessing
    try:
        multiprocessing.Process(target=print).start()
    except OSError as error:
        return error.strerror

def try_socketpair():
    import socket
    one, other = socket.socketpair()
    one.sendall(b"x")
    return other.recv(1).decode()

def try_datetime():
    import datetime, time
    return datetime.datetime.now().year > 2000 and len(time.tzname[0]) > 2

def try_decimal():
    import decimal
    return str(decimal.Decimal("0.1") * 3)

def try_random():
    import random, secrets, uuid
    return [len(secrets.token_hex(4)), random.randint(1, 1), uuid.uuid4().version]

def try_signal():
    import os, signal
    out = []
    signal.signal(signal.SIGUSR1, lambda *_: out.append("got"))
    os.kill(os.getpid(), signal.SIGUSR1)
    return out

def try_selectors():
    import os, selectors
    selector = selectors.DefaultSelector()
    reading, writing = os.pipe()
    os.write(writing, b"x")
    selector.register(reading, 1)
    return len(selector.select(1))

def try_xml():
    import xml.etree.ElementTree as trees
    return trees.fromstring("<a>x</a>").text

def try_logging():
    import logging
    logging.warning("to stderr")
    return "logged"

def try_devices():
    open("/dev/null", "w").write("x")
    return len(open("/dev/urandom", "rb").read(4))

def try_encoding():
    import platform, sys
    return [sys.getfilesystemencoding(), platform.system()]

def run():
    seen = {}
    for name, function in list(globals().items()):
        if name.startswith("try_"):
            try:
                seen[name[4:]] = function()
            except BaseException as error:
                seen[name[4:]] = repr(error)
    return seen
"""
WORKS = {
    "json": [1, "é"],
    "re": "1 <x>",
    "sqlite3": 5,
    "zlib_bz2_lzma": "BZ",
    "hashlib": "e3b0c442",
    "ssl": "CERT_REQUIRED",
    "threading": ["x"],
    "asyncio": 6,
    "futures": 6,
    "tempfile": ["/tmp", False],
    "shutil": "\n",
    "mmap": "hi",
    "vectors": "hello",
    "disk_usage": "Function not implemented",  # the host's
    "names": [255, True],
    "ctypes": 5,
    "subprocess": "Function not implemented",
    "multiprocessing": "Function not implemented",
    "socketpair": "x",
    "datetime": True,
    "decimal": "0.3",
    "random": [8, 1, 4],
    "signal": ["got"],
    "selectors": 1,
    "xml": "x",
    "logging": "logged",
    "devices": 4,
    "encoding": ["utf-8", "Linux"],
}


def test_standard_library_works(lab: Lab) -> None:
    assert call(lab.python(STDLIB)) == WORKS
