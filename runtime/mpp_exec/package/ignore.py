"""What stays out of a package: ``.mppignore``, in gitignore(5) syntax, and what never belongs in one."""

from __future__ import annotations

from typing import Final

import pathspec

from mpp_exec.errors import UsageError

IGNORE_FILE: Final = ".mppignore"

# Last, where no pattern of the author's can take them back: version control, caches of Python's,
# packages themselves, and the two files that are about packing (the manifest holds what mpp.toml says).
_ALWAYS: Final = (".git", "__pycache__/", "*.mpp", "/mpp.toml", f"/{IGNORE_FILE}")


class IgnoreRules:
    """The patterns of one ``.mppignore`` (*text*, empty for none), and the fixed ones."""

    def __init__(self, text: str = "") -> None:
        """Compile the patterns.

        Raises:
            UsageError: ``build.bad_ignore``.
        """
        lines = text.removeprefix("\ufeff").splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                pathspec.GitIgnoreSpec.from_lines([line])
            except ValueError as error:
                raise UsageError(
                    "build.bad_ignore",
                    f"{IGNORE_FILE} line {number}: {_lower(str(error))}",
                    "the syntax is that of .gitignore",
                ) from None
        self._spec = pathspec.GitIgnoreSpec.from_lines([*lines, *_ALWAYS])

    def ignores(self, path: str, *, folder: bool) -> bool:
        """Say whether *path*, relative and with slashes, stays out; a folder with all that is in it.

        As with git, a file cannot be taken back by ``!`` when its folder is left out: the caller does
        not look into a folder that is ignored.
        """
        return self._spec.match_file(f"{path}/" if folder else path)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
