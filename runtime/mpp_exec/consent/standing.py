"""Decides whether a grant still gives what it gave when a call was prepared."""

from __future__ import annotations

from mpp_exec.consent.grant import Grant
from mpp_exec.package.manifest import CONFIRMS


def lost(then: Grant, now: Grant, tool: str) -> str:
    """Return in words what *then* gave *tool* and *now* no longer gives; "" for nothing.

    Both are effective grants. A wider grant is no loss. A changed setting or choice of redaction is a loss,
    since nobody can tell which of the two is less.
    """
    if (now.package, now.digest, now.key_id) != (then.package, then.digest, then.key_id):
        return "another version was approved"
    asks, asked = now.confirm.get(tool), then.confirm.get(tool)
    kept = {
        "its permissions are fewer": now.permissions.covers(then.permissions),
        "its limits are lower": now.limits.covers(then.limits),
        "its results are redacted otherwise": now.privacy.covers(then.privacy)
        and now.redaction == then.redaction,
        "it has to be confirmed": asks is not None
        and asked is not None
        and CONFIRMS.index(asks) <= CONFIRMS.index(asked),
        "its settings are others": now.config == then.config,
        "more of what it was granted is covered": set(now.covers) <= set(then.covers),
        "a granted path is another one": now.identities == then.identities,
        "it may not do without a protection": set(then.degradations) <= set(now.degradations),
        "it may not be imported once": now.import_once or not then.import_once,
    }
    return next((words for words, holds in kept.items() if not holds), "")
