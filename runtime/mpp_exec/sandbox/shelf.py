"""The sandboxes that wait for one tool: what they are made from, and how many of them are wanted."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mpp_exec.errors import MppError
from mpp_exec.sandbox.cache import SandboxCache
from mpp_exec.sandbox.ground import FindGround, Grounds
from mpp_exec.sandbox.image import Image
from mpp_exec.sandbox.message import Variables
from mpp_exec.sandbox.parked import Parked
from mpp_exec.sandbox.plan import SandboxPlan
from mpp_exec.sandbox.snapshot import Snapshot, can_be_saved
from mpp_exec.sandbox.template import Template, can_be_copied

_DECAY: Final = 10.0  # seconds without a miss after which one less is kept
_BACKOFF_MAX: Final = 600.0
_WITHOUT_COPIES: Final = 60.0  # seconds until another template is tried where one made no copy


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What a sandbox is prepared from. Two are the same where plan and files are.

    Attributes:
        plan: the plan, which is compared by identity: the same inputs give the same object.
        files: what distinguishes the installed files from changed ones.
        constants: variables that every call has; none of them is a secret.
        early_start: whether the tool may be started before its call.
        command: its command line, with the user's values put in; None for the plan's.
        basis: what it was made under; nothing is prepared from it once that has changed.
        unchanged: checks whether the installed files are still those that were verified.
        image: returns the verified image of the package's files, None while there is none; a call may have it
            made.
        image_failed: told that no sandbox could be made of it.
    """

    plan: SandboxPlan
    files: str
    constants: Variables
    early_start: bool
    command: tuple[str, ...] | None = None
    basis: object = None
    unchanged: Callable[[], bool] = lambda: True
    image: Callable[[], Image | None] = lambda: None
    image_failed: Callable[[], None] = lambda: None

    @property
    def key(self) -> tuple[int, str]:
        """What it is found by, as long as it is referred to."""
        return id(self.plan), self.files

    def begun(
        self,
        cache: SandboxCache,
        mounted: int | None,
        template: Template | None,
        snapshot: Snapshot | None = None,
        grounds: Grounds | None = None,
    ) -> Parked:
        """Begin to prepare a sandbox, of the package's image where there is one that serves.

        It is restored from *snapshot*, with the image that this was made with, or else a copy of *template*.
        Without any of them it is built on what *grounds* has for its plan.

        Raises:
            HostError, InternalError: as ``Parked``.
        """
        begin = functools.partial(
            Parked,
            self.plan,
            constants=self.constants,
            cache=cache,
            early_start=self.early_start,
            command=self.command,
            mounted=mounted,
            template=template,
            ground=self._ground(grounds),
        )
        if snapshot is not None:
            return begin(image=snapshot.image, snapshot=snapshot, template=None)
        parked = begin(image=self.image())
        if not parked.lacks_image:
            return parked
        parked.close()
        self.image_failed()
        return begin()

    def _ground(self, grounds: Grounds | None) -> FindGround:
        return (lambda _: None) if grounds is None else functools.partial(grounds.of, self.plan, self.basis)


@dataclass(slots=True, eq=False)
class Shelf:
    """The sandboxes of one recipe, and how much they are in demand."""

    recipe: Recipe
    ready: list[Parked] = field(default_factory=list)
    preparing: list[Parked] = field(default_factory=list)
    calls: int = 0
    target: int = 0
    last_call: float = 0.0
    last_miss: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    template: Template | None = None
    """What its sandboxes are copied from. It is for the thread that makes them."""
    no_copies_before: float = 0.0
    snapshot: Snapshot | None = None
    """What its sandboxes are restored from, ready or not. As above; others may have it lent."""
    no_snapshot_before: float = 0.0
    spoilt: int = 0
    """Snapshots in a row that came to nothing."""
    copies_well: bool = False
    """Whether the last one that got ready was a copy: then a call that finds none may make one."""

    @property
    def package(self) -> str:
        """The package whose tool it is."""
        return self.recipe.plan.package

    @property
    def all(self) -> list[Parked]:
        """All of them, ready or not."""
        return [*self.ready, *self.preparing]

    @property
    def resident(self) -> int:
        """The most bytes that its sandboxes and their sources were seen to have; shared ones count often."""
        sources = (self.template, self.snapshot)
        return sum(each.resident for each in sources if each is not None) + sum(
            parked.resident for parked in self.all
        )

    def source(self, now: float) -> Template | None:
        """Return what the next one is to be copied from, None for those that are made in the ordinary way."""
        if not self.recipe.early_start or not can_be_copied(self.recipe.plan) or now < self.no_copies_before:
            return None
        if self.template is None or not self.template.serves:
            self.drop_template()
            self.template = Template(self.recipe.plan)
        return self.template

    def saved(self, now: float, cache: SandboxCache, most: int) -> Snapshot | None:
        """Return the snapshot that the next one is to be restored from, None while there is none.

        One is begun where the user agreed to it and none is there, and may take *most* bytes: 0 begins none.
        """
        if not self.recipe.early_start or not can_be_saved(self.recipe.plan):
            return None
        image = self.recipe.image()
        if self.snapshot is not None:
            self.snapshot.look()
            if self.snapshot.is_making:
                return None
            if self.snapshot.serves and self.snapshot.image is image:
                self.spoilt = 0 if self.snapshot.copies else self.spoilt
                return self.snapshot
            if self.snapshot.is_spoilt:
                self.spoilt += 1
                self.no_snapshot_before = now + min(_WITHOUT_COPIES * 2.0**self.spoilt, _BACKOFF_MAX)
            self.drop_snapshot()
        if now >= self.no_snapshot_before and most > 0:
            recipe = self.recipe
            with contextlib.suppress(MppError, OSError):  # it is done without
                self.snapshot = Snapshot(
                    recipe.plan,
                    constants=recipe.constants,
                    cache=cache,
                    image=image,
                    most=most,
                    unchanged=recipe.unchanged,
                )
        return None

    @property
    def is_saving(self) -> bool:
        """Whether a snapshot is being made."""
        return self.snapshot is not None and self.snapshot.is_making

    def drop_snapshot(self) -> None:
        """Let go of what its sandboxes are restored from; what has been restored stays."""
        snapshot, self.snapshot = self.snapshot, None
        if snapshot is not None:
            snapshot.close()

    def not_copied(self, now: float) -> None:
        """Do without copies for a while: there is no template, or it made none."""
        self.drop_template()
        self.no_copies_before = now + _WITHOUT_COPIES

    def drop_sources(self) -> None:
        """End what its sandboxes come from; they stay."""
        self.drop_template()
        self.drop_snapshot()

    def drop_template(self) -> None:
        """End what its sandboxes are copied from; what has been copied stays."""
        template, self.template = self.template, None
        if template is not None:
            template.close()

    def missing(self, now: float) -> bool:
        """Whether one more is to be made."""
        return len(self.ready) + len(self.preparing) < self.target and now >= self.not_before

    def called(self, now: float) -> None:
        """Count a call."""
        self.calls += 1
        self.last_call = now

    def missed(self, now: float, most: int) -> None:
        """Have more of them ready: it is called faster than they are made."""
        self.target = min(most, max(1, self.target * 2))
        self.last_miss = now

    def decay(self, now: float) -> None:
        """Have one less ready after a while in which there were enough."""
        if self.target > 1 and now - self.last_miss > _DECAY:
            self.target -= 1
            self.last_miss = now

    def back_off(self) -> None:
        """Wait longer after each failure: a tool may crash, or need what it is granted to start."""
        self.failures += 1
        self.not_before = time.monotonic() + min(2.0**self.failures, _BACKOFF_MAX)
