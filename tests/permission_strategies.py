"""Hypothesis strategies: permissions as authors write them: overlapping paths, wildcards, ports, IDN, sizes.

Every value goes through its own parser, so that only values are drawn that a manifest or a grant can contain.
The vocabularies are small, so that values overlap: covering and being covered must be common.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from hypothesis import strategies as st

from mpp_exec.permissions import Limits, Permissions
from mpp_exec.vocabulary import parse_env_name, parse_host_port, parse_path, parse_program, parse_size

LABELS: Final = ("api", "cdn", "xn--bcher-kva", "bücher", "API", "a-b")
DOMAINS: Final = ("example.com", "Example.COM", "shop.example.com", "münchen.example", "example.co.uk")
NAMES: Final = ("data", "data2", "in", "out", ".git", "ä b", "src")


def unique(entries: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    """Return sorted tuples without repetition, as permissions contain them."""
    return st.lists(entries, max_size=most).map(lambda chosen: tuple(sorted(set(chosen))))


hosts = st.one_of(
    st.tuples(st.sampled_from(LABELS), st.sampled_from(DOMAINS)).map(".".join),
    st.sampled_from(DOMAINS).map("*.{}".format),
    st.tuples(st.just("*"), st.sampled_from(LABELS), st.sampled_from(DOMAINS)).map(".".join),
    st.sampled_from(DOMAINS),
    st.sampled_from(["127.0.0.1", "10.0.0.1", "[::1]", "[2001:db8::1]", "[2001:DB8:0::1]"]),
)
destinations = st.tuples(hosts, st.sampled_from([80, 443, 8443])).map(
    lambda p: parse_host_port(f"{p[0]}:{p[1]}")
)
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(
    lambda parts: parse_path("/" + "/".join(parts))
)
manifest_paths = st.one_of(
    paths,
    st.lists(st.sampled_from(NAMES), max_size=2).map(
        lambda parts: parse_path("/".join(["${user_config.dir}", *parts]), placeholder=True)
    ),
)
environment = unique(st.sampled_from(["TZ", "LC_ALL", "EDITOR", "HTTP_PROXY"]).map(parse_env_name))
programs = unique(st.sampled_from(["git", "rg", "python3.11", "g++"]).map(parse_program))
sizes = st.sampled_from(["0B", "1B", "64KiB", "16MiB", "2GiB"]).map(parse_size)
permissions = st.builds(
    Permissions,
    network=unique(destinations),
    environment=environment,
    subprocess=programs,
    storage=sizes,
    read=unique(manifest_paths),
    write=unique(manifest_paths),
)
limits = st.builds(
    Limits,
    **{
        bound.name: st.sampled_from([1, bound.default - 1, bound.default, 4 * bound.default])
        for bound in fields(Limits)
        if isinstance(bound.default, int)
    },
)
