"""What a user selected to be measured, and the engine's request that comes of it."""

from __future__ import annotations

import msgspec

from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, USUAL_CONNECTIONS, Connection
from outlive.replay import engine
from outlive.retention.growth import SENSITIVITY
from outlive.service import scenarios


class Selection(msgspec.Struct, frozen=True):
    """What a user selected; empty tuples stand for all, or the default gc policies."""

    patterns: tuple[str, ...] = ()
    chosen: scenarios.Set | None = None
    connections: tuple[Connection, ...] = ()
    policies: tuple[str, ...] = ()
    worker: str | None = None
    fresh: bool = False
    jobs: int = 2
    sensitivity: int | None = None

    @property
    def kinds(self) -> tuple[Connection, ...]:
        """The kinds of connection that are meant where none is selected."""
        return CONNECTIONS if self.chosen in {"extended", "all"} else USUAL_CONNECTIONS

    @property
    def words(self) -> tuple[str, ...]:
        """The options that select the same again."""
        options = [("--scenario", one) for one in self.patterns]
        options += [("--set", self.chosen)] if self.chosen else []
        options += [("--connection", one) for one in self.connections]
        options += [("--gc", one) for one in self.policies]
        options += [("--worker", self.worker)] if self.worker else []
        options += [("--sensitivity", f"1/{self.sensitivity}")] if self.sensitivity else []
        return tuple(word for option in options for word in option)

    def request(
        self, project: Project, *, always: tuple[str, ...] = (), sensitivity: int = SENSITIVITY
    ) -> engine.Request:
        """Return what to measure: the selected scenarios, with those that are `always` wanted.

        `sensitivity` is taken where the user asks for none.

        Raises UsageError for a pattern that matches no scenario.
        """
        selected = scenarios.find(project.scenarios, self.patterns, self.chosen)
        wanted = scenarios.find(project.scenarios, always) if always else ()
        selected = (*(one for one in wanted if one not in selected), *selected)
        return engine.Request(
            selected,
            engine.cells(selected, self.connections or self.kinds, self.policies),
            worker=self.worker,
            fresh=self.fresh,
            jobs=self.jobs,
            sensitivity=self.sensitivity or sensitivity,
        )
