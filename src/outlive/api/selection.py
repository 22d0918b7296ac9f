"""Turns what a user selected into a request to the engine."""

from __future__ import annotations

import msgspec

from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, USUAL_CONNECTIONS, Connection
from outlive.replay import engine
from outlive.retention.growth import SENSITIVITY
from outlive.service import scenarios


class Selection(msgspec.Struct, frozen=True):
    """What a user selected; empty tuples stand for the defaults."""

    patterns: tuple[str, ...] = ()
    chosen: scenarios.Set | None = None
    connections: tuple[Connection, ...] = ()
    policies: tuple[str, ...] = ()
    worker: str | None = None
    fresh: bool = False
    jobs: int = 2
    sensitivity: int | None = None
    scheduler: str | None = None
    practices: tuple[str, ...] = ()

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
        options += [("--with-practice", one) for one in self.practices]
        options += [("--sensitivity", f"1/{self.sensitivity}")] if self.sensitivity else []
        return tuple(word for option in options for word in option)

    def request(
        self, project: Project, *, always: tuple[str, ...] = (), sensitivity: int = SENSITIVITY
    ) -> engine.Request:
        """Return what to measure: the selected scenarios, and those that are `always` wanted.

        `sensitivity` is the default if the user asks for none. Raises UsageError for a pattern that matches
        no scenario.
        """
        selected = scenarios.find(project.scenarios, self.patterns, self.chosen)
        wanted = scenarios.find(project.scenarios, always) if always else ()
        selected = (*(scenario for scenario in wanted if scenario not in selected), *selected)
        return engine.Request(
            selected,
            engine.cells(selected, self.connections or self.kinds, self.policies),
            worker=self.worker,
            fresh=self.fresh,
            jobs=self.jobs,
            sensitivity=self.sensitivity or sensitivity,
            scheduler=self.scheduler,
        )
