"""``completion``: scripts for bash, zsh and fish, made from the parsers, so that they know what is there.

The scripts ask ``mpp-exec list -q`` and ``mpp-exec publisher list -q`` for names when they need some.
What is offered for a value is written as one word: ``file``, ``folder``, ``package``, ``publisher``, or
a colon and the choices, separated by commas.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Final

from mpp_exec.cli.console import Console
from mpp_exec.cli.parser import PROGRAM, Option, Positional, Verb, VerbParser

SHELLS: Final = ("bash", "zsh", "fish")


def _arguments(parser: VerbParser) -> None:
    parser.notes = (
        "bash: put it into ~/.local/share/bash-completion/completions/mpp-exec. zsh: into a folder of",
        "$fpath, as _mpp-exec. fish: into ~/.config/fish/completions/mpp-exec.fish.",
    )
    parser.examples = (
        "source <(mpp-exec completion bash)",
        "mpp-exec completion fish > ~/.config/fish/completions/mpp-exec.fish",
    )
    parser.positional("SHELL", "bash, zsh or fish", choices=SHELLS)
    parser.common(json=False)


def _completion(given: argparse.Namespace, console: Console) -> int:
    parsers = list(_parsers())
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[given.shell](parsers)
    console.result(script.splitlines(), whole=True)
    return 0


def _parsers() -> Iterator[VerbParser]:
    from mpp_exec.cli import verbs  # noqa: PLC0415 -- it imports this module by its name

    for verb in verbs.VERBS:
        yield verbs.load(verb)[0]


def _offer(part: Option | Positional) -> str:
    return f":{','.join(part.choices)}" if part.choices else part.complete


def _quoted(text: str) -> str:
    """Quote *text* between single quotes, in which no shell finds anything special once these are gone."""
    return "'" + text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").replace("\\", "") + "'"


def _words(parsers: Iterable[VerbParser]) -> dict[str, list[tuple[str, str]]]:
    """Return what may stand first, under "", and second, under the first word; with summaries."""
    words: dict[str, list[tuple[str, str]]] = {"": []}
    for parser in parsers:
        first, _, second = parser.verb.partition(" ")
        if not second:
            words[""].append((first, parser.summary))
            continue
        words.setdefault(first, []).append((second, parser.summary))
    for first, known in words.items():
        if first:
            words[""].append((first, ", ".join(second for second, _ in known)))
    return words


# Both scripts walk over the words that are complete, find the verb, and count positional arguments.
_BASH: Final = """\
# bash completion for mpp-exec, written by: mpp-exec completion bash

_mpp_exec_offer() {
    local asked=("${COMP_WORDS[0]}" "${home[@]}")
    case $1 in
        :*) COMPREPLY=($(compgen -W "${1//[:,]/ }" -- "$cur")) ;;
        file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")) ;;
        folder) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;
        package) COMPREPLY=($(compgen -W "$("${asked[@]}" list -q 2>/dev/null)" -- "$cur")) ;;
        publisher) COMPREPLY=($(compgen -W "$("${asked[@]}" publisher list -q 2>/dev/null)" -- "$cur")) ;;
    esac
}

_mpp_exec() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local verb= word= options='--home --help --version' values='--home=folder' number=0 skip= at
    local -a home=() offers=()
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ -n $skip || $word == = ]]; then skip=; continue; fi
        if [[ $word == --home ]]; then home=(--home "${COMP_WORDS[at+1]}"); fi
        if [[ " $values " == *" $word="* ]]; then skip=1; continue; fi
        if [[ $word == -* ]]; then continue; fi
        case $verb in
            ''|@FAMILIES@) verb="${verb:+$verb }$word" ;;
            *) number=$((number + 1)); continue ;;
        esac
        case $verb in
@VERBS@
        esac
    done
    if [[ -n $skip ]]; then
        for word in $values; do
            if [[ ${word%%=*} == "$prev" ]]; then _mpp_exec_offer "${word#*=}"; fi
        done
    elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    else
        case $verb in
@WORDS@
            *) if ((number < ${#offers[@]})); then _mpp_exec_offer "${offers[number]}"; fi ;;
        esac
    fi
}

complete -F _mpp_exec mpp-exec
"""

_ZSH: Final = """\
#compdef mpp-exec
# zsh completion for mpp-exec, written by: mpp-exec completion zsh

_mpp_exec_offer() {
    local program=$words[1]
    case $1 in
        :*) compadd -- ${(s:,:)1#:} ;;
        file) _files ;;
        folder) _files -/ ;;
        package) compadd -- ${(f)"$($program $home list -q 2>/dev/null)"} ;;
        publisher) compadd -- ${(f)"$($program $home publisher list -q 2>/dev/null)"} ;;
    esac
}

_mpp_exec() {
    local verb= word= number=1 skip= at
    local -a home=() offers=() options=('--home:the home to use' '--help:help' '--version:the version')
    local -a values=('--home=folder') found=()
    for ((at = 2; at < CURRENT; at++)); do
        word=$words[at]
        if [[ -n $skip ]]; then skip=; continue; fi
        if [[ $word == --home ]]; then home=(--home $words[at+1]); fi
        if [[ -n ${values[(r)$word=*]} ]]; then skip=$word; continue; fi
        if [[ $word == -* ]]; then continue; fi
        case $verb in
            ''|@FAMILIES@) verb="${verb:+$verb }$word" ;;
            *) number=$((number + 1)); continue ;;
        esac
        case $verb in
@VERBS@
        esac
    done
    if [[ -n $skip ]]; then
        _mpp_exec_offer ${${values[(r)$skip=*]}#*=}
    elif [[ $words[CURRENT] == -* ]]; then
        _describe option options
    else
        case $verb in
@WORDS@
            *) _mpp_exec_offer "$offers[number]" ;;
        esac
    fi
}

if [[ $funcstack[1] == _mpp-exec ]]; then _mpp_exec "$@"; else compdef _mpp_exec mpp-exec; fi
"""


def _families(parsers: Iterable[VerbParser]) -> str:
    return "|".join(first for first in _words(parsers) if first)


def _pattern(verb: str) -> str:
    return verb.replace(" ", "\\ ") or "''"


def _bash(parsers: list[VerbParser]) -> str:
    verbs = []
    for parser in parsers:
        options = " ".join(name for option in parser.options for name in option.names)
        values = " ".join(
            f"{name}={_offer(option)}"
            for option in parser.options
            if option.value and not option.bare
            for name in option.names
        )
        offers = " ".join(_quoted(_offer(each)) for each in parser.positionals)
        verbs.append(
            f"            {_pattern(parser.verb)}) options={_quoted(options)} values={_quoted(values)} "
            f"offers=({offers}) ;;"
        )
    words = []
    for first, known in _words(parsers).items():
        offered = _quoted(" ".join(word for word, _ in known))
        words.append(f'            {_pattern(first)}) COMPREPLY=($(compgen -W {offered} -- "$cur")) ;;')
    return _filled(_BASH, parsers, verbs, words)


def _zsh(parsers: list[VerbParser]) -> str:
    verbs = []
    for parser in parsers:
        options = " ".join(
            _quoted(f"{name}:{option.help}") for option in parser.options for name in option.names
        )
        values = " ".join(
            _quoted(f"{name}={_offer(option)}")
            for option in parser.options
            if option.value and not option.bare
            for name in option.names
        )
        offers = " ".join(_quoted(_offer(each)) for each in parser.positionals)
        verbs.append(
            f"            {_pattern(parser.verb)}) options=({options}) values=({values}) offers=({offers}) ;;"
        )
    words = []
    for first, known in _words(parsers).items():
        described = " ".join(_quoted(f"{word}:{summary}") for word, summary in known)
        words.append(f"            {_pattern(first)}) found=({described}); _describe verb found ;;")
    return _filled(_ZSH, parsers, verbs, words)


def _filled(script: str, parsers: list[VerbParser], verbs: list[str], words: list[str]) -> str:
    return (
        script.replace("@FAMILIES@", _families(parsers))
        .replace("@VERBS@", "\n".join(verbs))
        .replace("@WORDS@", "\n".join(words))
    )


_FISH: Final = """\
# fish completion for mpp-exec, written by: mpp-exec completion fish

# Whether the words so far begin with this verb, and how many positional arguments stand behind it.
function __mpp_exec_at
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -l verb (string split ' ' -- $argv[1])
    set -l plain
    set -l skip 0
    for token in $tokens
        if test $skip = 1
            set skip 0
        else if contains -- $token @TAKING@
            set skip 1
        else if not string match -q -- '-*' $token
            set -a plain $token
        end
    end
    set -l length (count $verb)
    test (count $plain) -ge $length; or return 1
    test "$plain[1..$length]" = "$verb"; or return 1
    test (count $argv) -eq 1; or test (math (count $plain) - $length) -eq $argv[2]
end

function __mpp_exec_first
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -l skip 0
    for token in $tokens
        if test $skip = 1
            set skip 0
        else if test $token = --home
            set skip 1
        else if not string match -q -- '-*' $token
            return 1
        end
    end
end

function __mpp_exec_names
    set -l tokens (commandline -opc)
    set -l home
    if set -l at (contains -i -- --home $tokens)
        set home --home $tokens[(math $at + 1)]
    end
    $tokens[1] $home $argv -q 2>/dev/null
end

complete -c mpp-exec -f
complete -c mpp-exec -n __mpp_exec_first -l home -x -a '(__fish_complete_directories)' -d 'the home to use'
complete -c mpp-exec -n __mpp_exec_first -l version -d 'the version'
complete -c mpp-exec -n __mpp_exec_first -s h -l help -d 'help'
"""
_FISH_OFFERS: Final = {
    "": "",
    "file": "-F",
    "folder": "-a '(__fish_complete_directories)'",
    "package": "-a '(__mpp_exec_names list)'",
    "publisher": "-a '(__mpp_exec_names publisher list)'",
}


def _fish(parsers: list[VerbParser]) -> str:
    begin = f"complete -c {PROGRAM}"
    taking = sorted(
        {
            name
            for parser in parsers
            for option in parser.options
            if option.value and not option.bare
            for name in option.names
        }
    )
    lines = [_FISH.replace("@TAKING@", " ".join(taking))]
    for first, known in _words(parsers).items():
        condition = f"'__mpp_exec_at {first} 0'" if first else "__mpp_exec_first"
        lines += [f"{begin} -n {condition} -a {word} -d {_quoted(summary)}" for word, summary in known]
    for parser in parsers:
        verb = f'"{parser.verb}"'
        for number, positional in enumerate(parser.positionals):
            if offer := _fish_offer(_offer(positional)):
                lines.append(f"{begin} -n '__mpp_exec_at {verb} {number}' {offer}")
        for option in parser.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
            )
            offer = _fish_offer(_offer(option))
            takes = ""
            if option.value and not option.bare:
                takes = "-r -F" if offer == "-F" else f"-x {offer}".strip()
            lines.append(
                " ".join(
                    part
                    for part in (
                        begin,
                        f"-n '__mpp_exec_at {verb}'",
                        names,
                        takes,
                        f"-d {_quoted(option.help)}",
                    )
                    if part
                )
            )
    return "\n".join(lines)


def _fish_offer(offer: str) -> str:
    if offer.startswith(":"):
        return f"-a {_quoted(offer[1:].replace(',', ' '))}"
    return _FISH_OFFERS[offer]


VERBS: Final = {"completion": Verb(_arguments, _completion)}
