"""Turns a user's selection into prepared stacks and a request to the engine."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated

import msgspec

from outlive.errors import UsageError
from outlive.project import Project
from outlive.records.gcpolicy import GcPolicy
from outlive.records.measurement import CONNECTIONS, USUAL_CONNECTIONS, Connection
from outlive.records.remedy import Remedy
from outlive.records.stack import Stack, is_stack
from outlive.releases.catalogue import Catalogue
from outlive.replay import engine
from outlive.retention.growth import LEAST_SENSITIVITY, MOST_SENSITIVITY, SENSITIVITY
from outlive.service import app as apps
from outlive.service import remedies, scenarios
from outlive.stacks.prepare import Pair, Prepared, prepare, prepare_pair


def stack_of(project: Project, word: str) -> Stack:
    """Return the stack that a word names; a framework alone means its newest release."""
    return (
        Stack.parse(word) if is_stack(word) else Stack(word, Catalogue.load(project, word).newest().version)
    )


def one_scenario(project: Project, pattern: str, verb: str) -> scenarios.Scenario:
    """Return the scenario that matches `pattern`. Raises UsageError, which names `verb`, unless one does."""
    chosen = scenarios.find(project.scenarios, [pattern])
    if len(chosen) > 1:
        raise UsageError(f"{verb} takes one scenario; {pattern!r} matches {len(chosen)}")
    return chosen[0]


class Selection(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"patterns": "scenarios", "chosen": "set", "policies": "gc"},
):
    """What a user selected; empty tuples stand for the defaults."""

    patterns: tuple[str, ...] = ()
    chosen: scenarios.Set | None = None
    connections: tuple[Connection, ...] = ()
    policies: tuple[str, ...] = ()
    worker: str | None = None
    fresh: bool = False
    jobs: Annotated[int, msgspec.Meta(ge=1)] = 2
    sensitivity: Annotated[int, msgspec.Meta(ge=LEAST_SENSITIVITY, le=MOST_SENSITIVITY)] | None = None
    scheduler: str | None = None
    practices: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, object], ignored: Collection[str] = ()) -> Selection:
        """Return the selection that options of the library make.

        Raises UsageError for options that there are not, for wrong values, and for options that would be
        `ignored`, unless they have their defaults.
        """
        words = {name: [*value] if isinstance(value, Iterator) else value for name, value in options.items()}
        try:
            selection = msgspec.convert(words, cls)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at ")
            raise UsageError(re.sub(r"`(\$\.)?", "", f"{where}: {what}").removeprefix(": ")) from None
        for field in msgspec.structs.fields(cls):
            if field.encode_name in ignored and getattr(selection, field.name) != field.default:
                raise UsageError(f"{field.encode_name}: this function does not take it")
        policies = tuple(str(GcPolicy.parse(policy)) for policy in selection.policies)
        return msgspec.structs.replace(selection, policies=policies)

    @property
    def kinds(self) -> tuple[Connection, ...]:
        """The kinds of connection that are measured if none is selected."""
        return CONNECTIONS if self.chosen in {"extended", "all"} else USUAL_CONNECTIONS

    @property
    def words(self) -> tuple[str, ...]:
        """The command-line options that select the same."""
        options = [("--scenario", pattern) for pattern in self.patterns]
        options += [("--set", self.chosen)] if self.chosen else []
        options += [("--connection", kind) for kind in self.connections]
        options += [("--gc", policy) for policy in self.policies]
        options += [("--worker", self.worker)] if self.worker else []
        options += [("--with-practice", practice) for practice in self.practices]
        options += [("--sensitivity", f"1/{self.sensitivity}")] if self.sensitivity else []
        return tuple(word for option in options for word in option)

    def prepared(self, project: Project, stack: Stack, python: str | None) -> Prepared:
        """Return a stack with its era lock, for the selected worker and practices. Raises as `prepare`."""
        practice, packages = self._added(project, stack.framework)
        return prepare(project, stack, python, practice, packages=packages)

    def pair(self, project: Project, stacks: tuple[Stack, Stack], python: str | None) -> Pair:
        """Return two stacks with controlled locks, for the selected worker and practices.

        Raises as `prepare_pair` does.
        """
        practice, packages = self._added(project, stacks[0].framework)
        return prepare_pair(project, *stacks, python, practice, packages=packages)

    def _added(self, project: Project, framework: str) -> tuple[Remedy | None, tuple[str, ...]]:
        """Return the selected practices as one, and the packages that the selected worker needs."""
        return (
            remedies.practices(project, framework, self.practices),
            apps.packages(project, framework, self.worker),
        )

    def request(
        self, project: Project, *, always: tuple[str, ...] = (), sensitivity: int = SENSITIVITY
    ) -> engine.CellRequest:
        """Return what to measure: the selected scenarios, and those that are `always` wanted.

        `sensitivity` is the default if the user asks for none. Raises UsageError for a pattern that matches
        no scenario.
        """
        selected = scenarios.find(project.scenarios, self.patterns, self.chosen)
        wanted = scenarios.find(project.scenarios, always) if always else ()
        selected = (*(scenario for scenario in wanted if scenario not in selected), *selected)
        return engine.CellRequest(
            selected,
            engine.cells(selected, self.connections or self.kinds, self.policies),
            worker=self.worker,
            fresh=self.fresh,
            jobs=self.jobs,
            sensitivity=self.sensitivity or sensitivity,
            scheduler=self.scheduler,
        )
