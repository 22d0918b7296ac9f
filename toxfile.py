"""Environments of tox: gates of each framework that has a folder in `apps/`, as in `flask-gcon-load`."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from tox.config.loader.memory import MemoryLoader
from tox.plugin import impl

if TYPE_CHECKING:
    from tox.config.sets import ConfigSet
    from tox.session.state import State

FRAMEWORKS = sorted(path.parent.name for path in Path(__file__).parent.glob("apps/*/app.toml"))
GATES = {
    f"{framework}-gc{policy}{load}": (framework, policy, load)
    for framework, policy, load in product(FRAMEWORKS, ("off", "on"), ("", "-load"))
}


@impl
def tox_extend_envs() -> tuple[str, ...]:
    """Return the names of the environments."""
    return tuple(GATES)


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:  # noqa: ARG001 - tox passes by name
    """Make each of the gate that tox.ini describes."""
    for name, (framework, policy, load) in GATES.items():
        own = MemoryLoader(base=[f"gate{load}", "testenv"], set_env=f"FRAMEWORK={framework}\nGC={policy}")
        state.conf.memory_seed_loaders[name].append(own)
