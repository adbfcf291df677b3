"""The launcher of a Python tool, PID 2 of its sandbox: seals the process, imports the tool, makes one call.

``launch.py ENTRY [FOLDER…]``: ENTRY is ``module:function``, the folders go on ``sys.path``. Descriptor 0
holds one JSON object ``{"arguments": {…}}``; descriptor 1 takes one JSON document, and nothing else:
``{"value": …}`` or ``{"error": {"type": …, "message": …}}``, and a line end behind it.
The tool's own output goes to stderr. Beside them may stand ``tried``, what the tool tried beyond what it was
given: for people, who would else not hear of it where the tool handles its errors itself. The tool can
prevent or forge it, as anything here.

``launch.py --parked ENTRY [FOLDER…]`` is for a sandbox that is prepared ahead of its call: once the
tool is imported a line end on descriptor 1 says so, and the request comes when there is a call, with its
number as ``invocation``. A tool that asks for something that its call will bring, while it is imported, needs
it to start and cannot be prepared: this process then ends.

``launch.py --saved`` is the same for a process that is not to have a call itself: it writes itself to
descriptor 4 and ends. What becomes of that, once and again, is as one that was parked.

It runs before each call, so it imports nothing that it can do without: ``json`` and ``contextlib`` bring
``re`` and ``enum`` with them, which takes as long as to start Python.

The sandbox is complete before this file is read. What it does with ``_seal`` only takes away the one
right that starting Python needed. Nothing here is a defence against the tool: after the import the
tool can do what this file can, and the host believes neither.
"""

import gc
import marshal
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs an import
NOTES_MAX = 32  # of each kind
NOTE_MAX = 1024  # characters
READ_SIZE = 1 << 16
TRIED_MAX = 8192  # bytes of all of them in the document
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
READS = ("os.listdir", "os.scandir", "sqlite3.connect")
WRITES = ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime")
MOVES = ("os.rename",)
LINKS = ("os.link", "os.symlink")
INVOCATION = "MPP_INVOCATION"
BYTECODE = f"{HERE}/bytecode"
DIGEST = 32  # bytes before the archive: the host's
STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn")
REACHES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto")


def _default(value: object) -> object:
    raise TypeError(f"Object of type {value.__class__.__name__} is not JSON serializable")


class _Reading:
    """How JSON is read: what the C part of ``json`` asks its decoder for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__


class Json:
    """JSON by the C part of ``json`` alone, which is the standard library's own affair and may change."""

    def __init__(self) -> None:
        """Find that part; any exception says that it is not what it was."""
        from _json import encode_basestring, make_encoder, make_scanner  # noqa: PLC0415 - may be missing

        self._scan = make_scanner(_Reading)  # type: ignore[arg-type]
        self._encoder = make_encoder
        self._text = encode_basestring
        sample = {"a": [1, 0.5, "\u00e9\n", None, True]}
        if self.loads(self.dumps(sample).encode("utf-8")) != sample:
            raise ValueError("it reads otherwise than it writes")

    def loads(self, data: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN201 - typing costs an import
        """Return what ``json.loads`` does."""
        text = data.decode("utf-8").strip(" \t\r\n")
        value, end = self._scan(text, 0)
        if end != len(text):
            raise ValueError("something behind the JSON")
        return value

    def dumps(self, value: object) -> str:
        """Return *value* without blanks, and with characters beyond ASCII as they are; NaN is refused."""
        # One for each: the first argument is what it has met on its way, to find circles.
        write = self._encoder({}, _default, self._text, None, ":", ",", False, False, False)
        return "".join(write(value, 0))


try:
    _json = Json()
    loads, dumps = _json.loads, _json.dumps
except Exception:  # noqa: BLE001 - another version of Python: as everybody does it
    import json

    def loads(data: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN201, D103
        return json.loads(data)

    def dumps(value: object) -> str:  # noqa: D103
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def read_all(descriptor: int) -> bytes:
    """Return everything up to the end of *descriptor*."""
    parts = []
    while part := os.read(descriptor, READ_SIZE):
        parts.append(part)
    return b"".join(parts)


def document_of(answer: dict[str, object]) -> bytes:
    """Return *answer* as the document that descriptor 1 takes."""
    return dumps(answer).encode("utf-8")


def write_all(descriptor: int, data: bytes) -> None:
    """Write *data*, however many pieces that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def seal() -> None:
    """Take execve and further seccomp programs away from this process, for good."""
    from _seal import seal as add_program  # type: ignore[import-not-found]  # noqa: PLC0415 - sys.path is set by main

    with open(f"{HERE}/seal.bpf", "rb") as file:  # noqa: PTH123 - pathlib costs an import
        add_program(file.read())


class Tried:
    """Notes what the tool tries beyond what it is shown (audit events, and lookups of variables)."""

    def __init__(self, *, awaits_call: bool = False) -> None:
        """Listen, and where it *awaits_call* for what asks for paths that the call will bring, too."""
        self.awaits_call = awaits_call
        self.asked_early = False
        try:
            with open(f"{HERE}/shown.json", "rb") as file:  # noqa: PTH123 - as above
                shown = loads(file.read())
        except FileNotFoundError:  # without namespaces nothing is hidden, so nothing can be told beside it
            shown = {"read": ["/"], "write": ["/"], "late": [], "limit": 0, "traced": False, "hosts": False}
        self._to_come = tuple(shown["late"])
        self._hosts_to_come = shown["hosts"]
        self.limit = shown["limit"]
        self.every_variable = shown["traced"]
        self.notes: dict[str, dict[str, None]] = {}
        modes = ("read", "write")
        self._exact = {mode: frozenset(shown[mode]) for mode in modes}
        self._below = {
            mode: tuple(f"{path.rstrip('/')}/" for path in shown[mode]) for mode in ("read", "write")
        }
        sys.addaudithook(self._hear)
        self._listen_to_variables()

    def document(self, size: int) -> dict[str, list[str]]:
        """Return the notes for a document that is *size* bytes without them; nothing where room is short."""
        found = {kind: list(notes) for kind, notes in self.notes.items()}
        room = len(_safe(found))
        return found if room <= TRIED_MAX and size + room <= self.limit // 2 else {}

    def note(self, kind: str, what: object) -> None:
        """Keep one, once, within the bounds."""
        notes = self.notes.setdefault(kind, {})
        if isinstance(what, str) and len(what) <= NOTE_MAX and len(notes) < NOTES_MAX:
            notes[what] = None

    def _hear(self, event: str, given: tuple[object, ...]) -> None:
        if self.awaits_call and self._hosts_to_come and event in REACHES:
            self.asked_early = True
        try:
            if event == "open":
                flags = given[2]
                self._path("write" if isinstance(flags, int) and flags & WRITING else "read", given[0])
            elif event in READS:
                self._path("read", "." if given[0] is None else given[0])
            elif event in WRITES:
                self._path("write", given[0])
            elif event in MOVES:
                self._path("write", given[0])
                self._path("write", given[1])
            elif event in LINKS:
                self._path("write", given[1])
            elif event in STARTS:
                self.note("program", os.fsdecode(given[0]))  # type: ignore[arg-type]
            elif event in ("os.system", "os.fork", "os.forkpty"):
                self.note("program", "sh" if event == "os.system" else "")
            elif event == "socket.getaddrinfo":
                self.note("host", f"{_text(given[0])}:{_text(given[1])}")
            elif event == "socket.gethostbyname":
                self.note("host", f"{_text(given[0])}:")
            elif event == "socket.__new__" and given[1] not in (-1, 1):  # AF_UNIX is no network
                self.note("host", "")
        except Exception:  # noqa: BLE001, S110 - what goes wrong in here must not go wrong in the tool
            pass

    def _path(self, mode: str, given: object) -> None:
        if isinstance(given, int):
            return
        path = os.fsdecode(given)  # type: ignore[arg-type]
        if not path.startswith("/"):
            path = f"{os.getcwd()}/{path}"  # noqa: PTH109 - pathlib costs an import
        whole = os.path.normpath(f"/{path.lstrip('/')}")
        if self.awaits_call and any(whole == each or whole.startswith(f"{each}/") for each in self._to_come):
            self.asked_early = True
        if whole not in self._exact[mode] and not whole.startswith(self._below[mode]):
            self.note(mode, path)  # as it was spelled: what stands in it may be recognised by that

    def _listen_to_variables(self) -> None:
        tried = self

        class Environ(type(os.environ)):  # type: ignore[misc]
            def __getitem__(self, name: str) -> str:
                try:
                    value: str = super().__getitem__(name)
                except KeyError:
                    if name == INVOCATION and tried.awaits_call:
                        tried.asked_early = True
                    tried.note("variable", name)
                    raise
                if tried.every_variable:
                    tried.note("variable", name)
                return value

        os.environ.__class__ = Environ


def _safe(value: object) -> bytes:
    """Return *value* as JSON, whatever characters stand in it: a lone surrogate is written as its escape."""
    return dumps(value).encode("utf-8", "backslashreplace")


def _text(value: object) -> str:
    return os.fsdecode(value) if isinstance(value, str | bytes) else "" if value is None else str(value)


def load_compiled(app: str) -> None:
    """Have the modules of *app* loaded from what was compiled of them at install, where that is there."""
    try:
        descriptor = os.open(BYTECODE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    size = int.from_bytes(os.pread(descriptor, 4, DIGEST), "big")
    index = loads(os.pread(descriptor, size, DIGEST + 4))
    os.close(descriptor)
    begin = DIGEST + 4 + size
    places = index["modules"]
    machinery = sys.modules["_frozen_importlib_external"]
    if index["magic"] != machinery.MAGIC_NUMBER.hex():
        return

    class Compiled(machinery.SourceFileLoader):  # type: ignore[misc, name-defined]
        def get_code(self, fullname: str) -> object:
            place = places.get(self.path[len(app) + 1 :])
            if place is None:
                return super().get_code(fullname)
            offset, length = place
            # Opened for each: the tool's descriptors are as they would be without.
            descriptor = os.open(BYTECODE, os.O_RDONLY | os.O_CLOEXEC)
            try:
                code = marshal.loads(os.pread(descriptor, length, begin + offset))  # noqa: S302 - code to run
            finally:
                os.close(descriptor)
            sys.modules["_imp"]._fix_co_filename(code, self.path)  # noqa: SLF001 - as importlib does
            return code

    loaders = (
        (machinery.ExtensionFileLoader, sys.modules["_imp"].extension_suffixes()),
        (Compiled, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )
    find = machinery.FileFinder.path_hook(*loaders)

    def find_in_app(folder: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as above
        if folder != app and not folder.startswith(f"{app}/"):
            raise ImportError
        return find(folder)

    sys.path_hooks.insert(0, find_in_app)


def load(entry: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - typing costs an import
    """Return the callable that ENTRY names."""
    module_name, _, path = entry.partition(":")
    __import__(module_name)
    target = sys.modules[module_name]
    for name in path.split("."):
        target = getattr(target, name)
    return target


def load_ahead(entry: str, tried: Tried, result: int, save):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Do what :func:`load` does before there is a call, and say so; end where that does not do.

    With *save* that ends this process, and returns in those that are restored from it.
    """
    # What every call does is done once: memory for it is there, and its code at hand, when the call comes.
    room = bytes(READ_SIZE)
    document_of({"value": loads(b'{"arguments":{}}'), "size": len(room)})
    del room
    try:
        function = load(entry)
    except BaseException:  # noqa: BLE001 - whoever calls it will see this in a sandbox that was not prepared
        os._exit(1)
    if tried.asked_early:
        os._exit(1)
    tried.awaits_call = False
    gc.freeze()  # what is there to stay is not looked at again by every collection of the call
    if save is not None:
        flush()
        save(result)
        os.dup2(1, result, False)
        os.dup2(2, 1)
        be_another()
    write_all(result, b"\n")
    return function


def flush() -> None:
    """Have nothing left to be written by anybody."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - contextlib costs an import
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def be_another() -> None:
    """Have randomness that no other copy has, where a library may not have seen that this is one.

    ``random`` itself starts anew in every copy of a process, and so do ``tempfile`` and each OpenSSL by the
    number of the process, which is another one.
    """
    modules = sys.modules
    steps = (  # what is not there raises when its turn has come
        lambda: modules["_ssl"].RAND_add(os.urandom(32), 32.0),
        lambda: modules["numpy.random"].seed(),  # noqa: PLW0108 - as above
        lambda: setattr(modules["uuid"], "_last_timestamp", None),
        lambda: modules["threading"].main_thread()._set_native_id(),  # noqa: SLF001 - as threading does
    )
    for step in steps:
        try:  # noqa: SIM105 - as above
            step()
        except Exception:  # noqa: BLE001, S110 - it is not imported, or not that module
            pass


def describe(error: BaseException) -> dict[str, str | int | None]:
    """Return what the host is told of an exception: type, message, and for an OSError what it was about."""
    told: dict[str, str | int | None] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, OSError):
        told["errno"] = error.errno
        told["path"] = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    if isinstance(error, MemoryError):
        told["limit"] = "memory"
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        told["limit"] = "processes"
    return told


def main() -> None:
    """Run the one call."""
    arguments = sys.argv[1:]
    is_saved = arguments[0] == "--saved"
    is_parked = is_saved or arguments[0] == "--parked"
    save = None
    if is_parked:
        del arguments[0]
    entry, *folders = arguments
    result = os.dup(1)
    os.dup2(2, 1)
    # Before the package is on the path: a `_seal.py` of its own would be imported instead, and seal nothing.
    sys.path.append(HERE)
    seal()
    if is_saved:
        from _snapshot import save  # type: ignore[import-not-found, no-redef]  # noqa: PLC0415 - as above

        del sys.modules["_snapshot"]
    sys.path.remove(HERE)
    sys.path[:0] = folders
    sys.argv[1:] = []
    load_compiled(folders[-1])  # what is asked for here is not what the tool tries
    tried = Tried(awaits_call=is_parked)
    try:
        function = load_ahead(entry, tried, result, save) if is_parked else load(entry)
        request = loads(read_all(0))
        if is_parked:
            os.environ[INVOCATION] = request["invocation"]
        value = function(**request["arguments"])
        data = document_of({"value": value})
    except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt of a tool are its errors, too
        try:
            if not isinstance(error, MemoryError):
                sys.excepthook(type(error), error, error.__traceback__)
            data = _safe({"error": describe(error)})
        except BaseException:  # noqa: BLE001 - str() of a tool's exception is tool code
            data = b'{"error":{"type":"Exception","message":"the exception could not be described"}}'
    try:
        if notes := tried.document(len(data)):
            data = data[:-1] + b',"tried":' + _safe(notes) + b"}"
    except BaseException:  # noqa: BLE001, S110 - notes are no part of the answer
        pass
    flush()
    # The line end, which stands nowhere in the document, ends the call: nobody waits for what comes then.
    write_all(result, data + b"\n")
    # Not sys.exit: threads and exit handlers of the tool have no say in when the call is over.
    os._exit(0)


if __name__ == "__main__":  # or a template runs it, in a copy
    main()
