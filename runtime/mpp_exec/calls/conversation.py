"""Calls that belong together: those of one runtime, or of one client of a shared runtime.

Conversations share nothing of their own. A token of one conversation is only text in another one. Open
questions of one conversation take no room from the others. Calls of each conversation wait in a queue of
their own.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mpp_exec.consent.confirm import OpenQuestions

if TYPE_CHECKING:
    from mpp_exec.privacy.vault import Vault


class Conversation:
    """The state that the calls of one conversation share. Thread-safe.

    Args:
        tokens: whether a later call may use the tokens in a result.
        name: distinguishes this conversation from others in the same runtime.
    """

    def __init__(self, *, tokens: bool, name: str = "") -> None:
        self.name = name
        self.questions = OpenQuestions()
        self._tokens = tokens
        self._vault: Vault | None = None
        self._lock = threading.Lock()

    @property
    def vault(self) -> Vault | None:
        """The tokens of this conversation, made when first needed; None if it has only one call."""
        if not self._tokens:
            return None
        from mpp_exec.privacy.vault import Vault  # noqa: PLC0415 -- few have tokens

        with self._lock:
            if self._vault is None:
                self._vault = Vault()
            return self._vault

    @property
    def has_tokens(self) -> bool:
        """Whether any token has been made."""
        return self._vault is not None

    def close(self) -> None:
        """Forget every token."""
        if self._vault is not None:
            self._vault.close()
