"""From accesses to permissions: minimal, tidy, and nothing but what a manifest can say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from mpp_exec.calls.prepared import HostAsked
from mpp_exec.lifecycle.suggesting import Host, Suggestion, suggest
from mpp_exec.package.manifest import ConfigField, RuntimeSpec
from mpp_exec.permissions import Permissions
from mpp_exec.sandbox.access import Access
from mpp_exec.vocabulary import parse_host_port

ANYWHERE = Host(lambda _: True, lambda _: True, lambda _: True)


def suggested(
    accesses: Iterable[Access],
    *,
    granted: Permissions | None = None,
    tried: dict[str, Any] | None = None,
    host: Host = ANYWHERE,
    ok: bool = False,
    asked: HostAsked | None = None,
    kind: str = "python",
    **changes: Any,
) -> Suggestion:
    """Return what is suggested for *accesses* of a tool under *granted*."""
    granted = granted or Permissions()
    plan = SimpleNamespace(
        kind=kind,
        scratch="/tmp",
        entries=(),
        exec_path="/python/bin/python3.11",
        programs=(),
        started=tuple(SimpleNamespace(name=name) for name in granted.subprocess),
    )
    prepared: Any = SimpleNamespace(
        manifest=SimpleNamespace(
            runtime=RuntimeSpec(kind="python"),
            user_config=changes.get("user_config", ()),
            permissions=Permissions(),
        ),
        tool=SimpleNamespace(name="tool", operation=changes.get("operation", "write")),
        grant=SimpleNamespace(permissions=granted, config=changes.get("config", {})),
        plan=plan,
    )
    return suggest(prepared, accesses, tried or {}, host, asked or HostAsked(), ok=ok)


def read(*paths: str) -> list[Access]:
    return [Access("read", "openat", path) for path in paths]


def test_few_files_are_named_and_many_are_their_folder() -> None:
    few = [f"/srv/data/in/{number}" for number in range(8)]
    granted = Permissions(read=("/srv",))
    assert suggested(read(*few), granted=granted).permissions.read == tuple(few)
    many = [f"/srv/data/in/{number}" for number in range(9)]
    assert suggested(read(*many), granted=granted).permissions.read == ("/srv/data/in",)


def test_a_folder_that_was_listed_covers_what_was_read_in_it() -> None:
    found = suggested(read("/srv/data", "/srv/data/a", "/srv/data/b"), granted=Permissions(read=("/srv",)))
    assert found.permissions.read == ("/srv/data",)


def test_what_was_granted_and_not_used_is_left_out() -> None:
    granted = Permissions(
        read=("/srv/a", "/srv/b"), environment=("TZ",), subprocess=("git",), storage=1 << 20
    )
    found = suggested(read("/srv/a"), granted=granted, ok=True)
    assert found.permissions == Permissions(read=("/srv/a",))


def test_an_entry_is_made_in_its_folder_and_a_file_that_is_there_is_changed() -> None:
    """What does not exist cannot be granted, so a new file needs its folder."""
    granted = Permissions(write=("/srv/out",))
    made = suggested([Access("make", "openat", "/srv/out/sub/new")], granted=granted)
    assert made.permissions.write == ("/srv/out/sub",)
    changed = suggested([Access("change", "truncate", "/srv/out/old")], granted=granted)
    assert changed.permissions.write == ("/srv/out/old",)
    itself = suggested([Access("make", "mkdir", "/srv/out")], granted=granted)
    assert itself.permissions.write == ("/srv/out",)


def test_reading_and_writing_one_folder_is_one_grant() -> None:
    accesses = [*read("/srv/out/a"), Access("make", "openat", "/srv/out/b")]
    found = suggested(accesses, granted=Permissions(write=("/srv/out",)))
    assert found.permissions == Permissions(write=("/srv/out",))


def test_folders_on_the_way_and_the_systems_own_are_left_out() -> None:
    accesses = [
        Access("look", "newfstatat", "/srv"),
        Access("look", "newfstatat", "/srv/data"),
        *read(
            "/srv/data/x",
            "/etc/ld.so.cache",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/usr/lib/locale/C",
            "/tmp/x",
        ),
        *read("/proc/self/status", "/app/tool.py", "/python/lib/x.py"),
    ]
    assert suggested(accesses).permissions == Permissions(read=("/srv/data/x",))


def test_what_is_not_on_the_host_cannot_be_granted() -> None:
    found = suggested(read("/srv/gone"), host=Host(lambda _: False, lambda _: False, lambda _: False))
    assert found.permissions == Permissions()
    assert "1 paths" in found.remarks[0]


def test_what_a_tool_could_do_without_is_a_comment_of_its_toml() -> None:
    found = suggested(read("/srv/x"), ok=True)
    assert found.permissions == Permissions()
    assert tomllib.loads(found.toml()) == {"permissions": {}}
    assert '# read = ["/srv/x"]' in found.toml()


def test_paths_below_a_setting_take_its_name() -> None:
    setting = ConfigField(key="folder", type="directory", title="", required=True)
    found = suggested(
        read("/srv/data/a", "/srv/database"), user_config=(setting,), config={"folder": "/srv/data"}
    )
    assert found.permissions.read == ("${user_config.folder}/a", "/srv/database")


def test_paths_below_one_of_several_values_ask_for_all_of_them() -> None:
    """What one folder has below it, the others need not have."""
    setting = ConfigField(key="folders", type="directory", multiple=True)
    found = suggested(
        read("/srv/one/a", "/srv/two/b/c"),
        user_config=(setting,),
        config={"folders": ("/srv/one", "/srv/two")},
    )
    assert found.permissions.read == ("${user_config.folders}",)


@pytest.mark.parametrize(
    "path", ['/srv/\n[permissions]\nread = ["/"]', "/srv/\x1b[0m", "/srv/\u202ex", "/srv/\udcff"]
)
def test_a_path_that_no_manifest_can_say_is_a_remark(path: str) -> None:
    """Nothing that a tool puts into a path becomes a line of TOML."""
    found = suggested(read(path, "/srv/fine"))
    assert tomllib.loads(found.toml()) == {"permissions": {"filesystem": {"read": ["/srv/fine"]}}}
    assert any("cannot be asked for" in remark for remark in found.remarks)


def test_programs_are_named_where_they_were_started_or_looked_for() -> None:
    started = suggested(
        [Access("start", "execve", "/bin/git")], granted=Permissions(subprocess=("git", "cat"))
    )
    assert started.permissions.subprocess == ("git",)
    looked = [Access("look", "newfstatat", "/usr/bin/jq"), Access("fork", "clone")]
    assert suggested(looked).permissions.subprocess == ("jq",)
    assert suggested(looked[:1]).permissions.subprocess == ()
    unknown = suggested(looked[1:])
    assert unknown.permissions.subprocess == ()
    assert "--subprocess" in unknown.remarks[0]


def test_variables_are_those_that_a_python_tool_looked_up() -> None:
    tried = {"variable": ["TZ", "WHO", "LC_ALL", "PATH", "MPP_TOOL", "NOT\nA NAME", 5]}
    found = suggested([], tried=tried, granted=Permissions(environment=("TZ", "PAGER")))
    assert found.permissions.environment == ("TZ", "WHO")
    program = suggested([], kind="exec", granted=Permissions(environment=("PAGER",)))
    assert program.permissions.environment == ("PAGER",)
    assert "not seen" in program.remarks[0]


def test_hosts_are_named_where_they_are_known_and_sockets_where_not() -> None:
    found = suggested([Access("socket", "socket", family=2)], tried={"host": ["example.com:443", "a b:1"]})
    assert [str(each) for each in found.permissions.network] == ["example.com:443"]
    assert found.remarks == []
    assert "network socket" in suggested([Access("socket", "socket", family=10)]).remarks[0]
    assert suggested([Access("socket", "socket", family=1)]).remarks == []


def hosts(*texts: str) -> Permissions:
    return Permissions(network=tuple(map(parse_host_port, texts)))


def named(found: Suggestion) -> list[str]:
    return [str(each) for each in found.permissions.network]


def test_hosts_that_were_reached_are_kept_and_others_are_not() -> None:
    granted = hosts("a.example.com:443", "b.example.com:443", "*.cdn.example.com:443", "10.0.0.5:5432")
    asked = HostAsked(reached=(("a.example.com", 443), ("x.cdn.example.com", 443), ("10.0.0.5", 5_432)))
    found = suggested([], granted=granted, asked=asked, ok=True, kind="exec")
    assert named(found) == ["10.0.0.5:5432", "a.example.com:443", "x.cdn.example.com:443"]
    assert (found.denied, found.remarks) == ([], [])


def test_many_hosts_below_a_wildcard_are_the_wildcard() -> None:
    reached = tuple((f"{i}.cdn.example.com", 443) for i in range(9))
    found = suggested([], granted=hosts("*.cdn.example.com:443"), asked=HostAsked(reached=reached))
    assert named(found) == ["*.cdn.example.com:443"]


def test_hosts_are_kept_where_not_all_that_were_reached_are_known() -> None:
    granted = hosts("a.example.com:443", "b.example.com:443")
    assert named(suggested([], granted=granted)) == ["a.example.com:443", "b.example.com:443"]


@pytest.mark.parametrize("why", ["hello", "resolve", "connect", "limit"])
def test_a_granted_host_that_did_not_answer_was_used(why: str) -> None:
    asked = HostAsked((("a.example.com", 443, why),), ())
    found = suggested([], granted=hosts("a.example.com:443", "b.example.com:443"), asked=asked)
    assert named(found) == ["a.example.com:443"]
    assert found.denied == []


def test_hosts_that_were_refused_are_proposed() -> None:
    asked = HostAsked(
        (
            ("b.example.com", 0, "name"),
            ("a.example.com", 8_443, "port"),
            ("10.0.0.6", 443, "address"),
            ("2001:db8::1", 443, "address"),
            ("", 0, "name"),
            ("a b", 443, "port"),
        ),
        (),
    )
    found = suggested([], granted=hosts("a.example.com:443"), asked=asked, kind="exec")
    wanted = ["10.0.0.6:443", "2001:db8::1:443", "a.example.com:8443", "b.example.com:443"]
    assert named(found) == [each.replace("2001:db8::1", "[2001:db8::1]") for each in wanted]
    assert found.remarks == ["it asked for the name b.example.com, and never for a port: 443 is assumed"]
    assert "network=a.example.com:8443" in found.denied


def test_a_port_that_was_said_to_the_resolver_is_not_assumed() -> None:
    asked = HostAsked((("b.example.com", 0, "name"),), ())
    found = suggested(
        [], granted=hosts("a.example.com:443"), asked=asked, tried={"host": ["b.example.com:8443"]}
    )
    assert named(found) == ["b.example.com:8443"]
    assert found.remarks == []


def test_a_name_that_leads_to_a_private_address_is_told() -> None:
    asked = HostAsked((("a.example.com", 443, "address"),), ())
    found = suggested([], granted=hosts("a.example.com:443"), asked=asked)
    assert named(found) == ["a.example.com:443"]
    assert "grant that address itself" in found.remarks[0]
    assert found.denied == []


def test_writing_by_a_tool_that_reads_is_remarked() -> None:
    found = suggested([Access("make", "openat", "/srv/out/x")], operation="read")
    assert found.permissions.write == ("/srv/out",)
    assert 'operation = "write"' in found.remarks[0]


def test_storage_is_what_was_granted_or_a_default() -> None:
    assert suggested([], tried={"variable": ["MPP_STORAGE"]}).toml().splitlines()[1] == 'storage = "16MiB"'
    granted = Permissions(storage=1 << 20)
    assert suggested([Access("make", "openat", "/storage/x")], granted=granted).permissions.storage == 1 << 20
    assert suggested([], granted=granted).permissions.storage == 0


def test_what_is_for_reading_only_inside_a_write_grant_stays_so() -> None:
    """Of granted paths in one another the innermost decides, so leaving it out would be wider."""
    granted = Permissions(read=("/srv/out/fixed",), write=("/srv/out",))
    accesses = [*read("/srv/out/fixed/a", "/srv/out/b"), Access("make", "openat", "/srv/out/c")]
    found = suggested(accesses, granted=granted)
    assert found.permissions == Permissions(read=("/srv/out/fixed/a",), write=("/srv/out",))
