"""Controlled locks: both sides of a comparison have the same dependencies wherever both allow them.

Whatever differs between the results is then due to the framework, or to the package or Python that the stacks
name. What could not be held equal is listed with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from outlive.errors import UnavailableError
from outlive.project import Project
from outlive.records.stack import Difference, Package
from outlive.stacks.locks import Lock, LockInput, attempt, kept, of_era, resolve

Works = Callable[[Lock], bool]
Pair = tuple[Lock, Lock]

DEPENDS = re.compile(r"([\w.-]+)[=<>~!]\S* depends on ([\w.-]+)(?:\{[^}]*\})?([=<>~!][^\s]*)")


class ControlledLocks(msgspec.Struct, frozen=True):
    """The locks of both sides, and their differences apart from the framework and the Python."""

    before: Lock
    after: Lock
    differences: tuple[Difference, ...]


def locks(
    project: Project, sides: Sequence[LockInput], asked: Sequence[str], works: Works | None = None
) -> ControlledLocks:
    """Return locks for two sides that differ in as little as possible.

    Packages in `asked` are what the comparison is about: each side keeps the version that it names, or that
    of its era. Metadata can allow what cannot even be imported, so a lock is only taken if `works` returns
    True for it. Without `works`, the metadata is trusted. Raises UnavailableError if a side cannot be
    resolved, and FaultError if the index cannot be reached.
    """
    if "gunicorn" not in asked:  # the same for both, even on different Pythons
        served = [pin for side in sides for pin in side.pins if pin.name == "gunicorn"]
        sides = [side.holding(min(served, key=lambda pin: Version(pin.version))) for side in sides]

    def find() -> ControlledLocks:
        eras = [of_era(project, side) for side in sides]
        dated = [lock.until for lock in eras if lock.until]
        swap = len(dated) == len(eras) and dated[0] > dated[1]
        older, newer = (1, 0) if swap else (0, 1)
        search = _Search((sides[older], sides[newer]), (eras[older], eras[newer]), asked, works)
        pair = search.closest()
        differences = tuple(search.differences(pair))
        if swap:
            differences = tuple(
                msgspec.structs.replace(d, before=d.after, after=d.before) for d in differences
            )
        return ControlledLocks(pair[older], pair[newer], differences)

    return kept(find, ControlledLocks, sides, asked, works is not None)


class _Search:
    """The search for the pair of locks with the fewest differences; `older` and `newer` are by era."""

    def __init__(
        self, sides: tuple[LockInput, LockInput], eras: Pair, asked: Sequence[str], works: Works | None
    ) -> None:
        self.older, self.newer = sides
        self.eras, self.asked, self.works = eras, asked, works
        self.tried: dict[Lock, bool] = {}
        moments = [lock.until for lock in eras if lock.until]
        self.until = max(moments) if len(moments) == len(eras) else None

    def closest(self) -> Pair:
        """Return the pair with the fewest differences of which both sides work.

        It tries the newer release with the packages of the older one's era, then the other way round. If the
        older release does not work with all newer packages, it gets as many of them as it works with.
        """
        older, newer = self.eras
        forward = (older, self._like(self.newer, older) or newer)
        upgraded = self._like(self.older, newer) if self._apart(forward) else None
        if upgraded:
            reverse = (upgraded, self._like(self.newer, upgraded) or newer)
            if len(self._apart(reverse)) < len(self._apart(forward)):
                if all(map(self._fine, reverse)):
                    return reverse
                return self._raise_each(forward if self._fine(forward[1]) else self.eras)
        return forward if self._fine(forward[1]) else self.eras

    def differences(self, pair: Pair) -> Iterator[Difference]:
        """Yield the differences of `pair`, with the older side as `before`."""
        for name, older, newer in pair[0].apart(pair[1]):
            if name != pair[0].framework:
                asked = name in self.asked
                reason = "named in the stack" if asked else self._reason(name, pair)
                yield Difference(name, older, newer, reason, asked)

    def _apart(self, pair: Pair) -> list[str]:
        """Return the packages that differ although no stack names them."""
        named = {pair[0].framework, *self.asked}
        return [name for name, _, _ in pair[0].apart(pair[1]) if name not in named]

    def _fine(self, lock: Lock) -> bool:
        if lock in self.eras or self.works is None:
            return True
        if lock not in self.tried:
            self.tried[lock] = self.works(lock)
        return self.tried[lock]

    def _like(self, side: LockInput, model: Lock) -> Lock | None:
        """Return the lock of `wanted` with the packages of `other` wherever allowed, or None."""
        leave = {model.framework, *self.asked}
        prefer = tuple(package for package in model.packages if package.name not in leave)
        try:
            return resolve(side, self.until, prefer)
        except UnavailableError:
            return None

    def _raise_each(self, pair: Pair) -> Pair:
        older, newer = pair
        side = self.older
        for name in self._apart(pair):
            if name in older.versions and name in newer.versions:
                trial = side.holding(Package(name, newer.versions[name]))
                lock = self._like(trial, older)
                closer = lock and len(self._apart((lock, newer))) < len(self._apart((older, newer)))
                if lock and closer and self._fine(lock):
                    older, side = lock, trial
        return older, newer

    def _reason(self, name: str, pair: Pair) -> str:
        older, newer = (lock.versions.get(name) for lock in pair)
        if older is None or newer is None:
            return f"only {self._distinction(self.newer if older is None else self.older)} needs it"
        refusals = [
            self._refusal(self.newer, pair[1], Package(name, older)),
            self._refusal(self.older, pair[0], Package(name, newer)),
        ]
        return "; ".join(filter(None, refusals)) or "no choice of versions fits both"

    def _distinction(self, side: LockInput) -> str:
        """Return what distinguishes a side from the opposite one: its release, Python or pins."""
        opposite = self.older if side is self.newer else self.newer
        if side.release != opposite.release:
            return str(side.release)
        if side.python != opposite.python:
            return f"Python {side.python}"
        return ", ".join(f"{pin.name} {pin.version}" for pin in side.pins if pin not in opposite.pins)

    def _refusal(self, side: LockInput, lock: Lock, package: Package) -> str | None:
        """Return why `side` cannot have `package`, from the resolver or a trial, or None if it can."""
        trial = side.holding(package)
        result = attempt(trial, self.until, lock.packages)
        if isinstance(result, Lock):
            fine = self._fine(result)
            return None if fine else f"{side.release} does not work with {package.name} {package.version}"
        return refusal(result, package, lock.versions, side.python)


def refusal(complaint: str, package: Package, versions: Mapping[str, str], python: str) -> str | None:
    """Return why the resolver refused a package, in a few words, or None if it complains about another.

    `versions` are those of the lock that the package was tried with.
    """
    text = " ".join(complaint.split())
    for name, needed, specifier in DEPENDS.findall(text):
        allowed = SpecifierSet(specifier.rstrip(",."))
        if needed == package.name and not allowed.contains(package.version, prereleases=True):
            return f"{name} {versions.get(name, '')} requires {needed}{allowed}"
    if f"{package.name}=={package.version} has no usable wheels" in text:
        return f"{package.name} {package.version} has no wheel for Python {python}"
    return None
