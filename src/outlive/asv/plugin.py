"""The asv plugin: maintains the release history that asv walks, and provides each release's environment.

`asv.conf.json` names it with a leading dot, as `.outlive.asv.plugin`; without the dot asv searches only its
own plugins, and silently finds none.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asv_runner  # type: ignore[import-untyped]
import msgspec
from asv import util  # type: ignore[import-untyped]
from asv.commands import compare  # type: ignore[import-untyped]
from asv.console import log  # type: ignore[import-untyped]
from asv.environment import Environment, EnvironmentUnavailable  # type: ignore[import-untyped]
from asv.publishing import OutputPublisher  # type: ignore[import-untyped]

from outlive.asv import assets, repository
from outlive.errors import OutliveError, UnavailableError
from outlive.files import write_text
from outlive.project import Project
from outlive.records.stack import Package, Stack
from outlive.releases import frameworks
from outlive.releases.catalogue import Catalogue
from outlive.stacks import environments, locks, pythons

# These variables would add packages to an environment that are not in its lock.
LEAKING = ("ASV_PYTHONPATH", "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "VIRTUAL_ENV")
EXACT = "objects."
"""Prefix of the names of benchmarks with exact counts."""
FACTOR = 1.0001
"""Smallest ratio that `asv compare` and `asv continuous` show for exact counts: one object of 10,000."""
DEFAULT_FACTOR = 1.1
"""asv's own factor, meant for timings: it would hide a change from 68 to 71 objects."""
HASH = re.compile(r"[0-9a-f]{40}")


def setup() -> None:
    """Make or extend the release history; asv calls this at the start of every command."""
    compare.Compare.print_table = _print_table
    project = Project.find()
    if not project.inside:
        raise util.UserError(f"{Path.cwd()} is not in a checkout of outlive: change into one for asv")
    try:
        repository.ensure(project)
    except OutliveError as error:
        raise util.UserError(str(error)) from error


_table, _rows = compare.Compare.print_table, compare.unroll_result


def _print_table(conf: Any, hash_1: str, hash_2: str, factor: float, *args: Any, **options: Any) -> Any:
    """Print asv's table of two releases with every change of an exact count, unless a factor was given."""
    if factor == DEFAULT_FACTOR:
        factor, compare.unroll_result = FACTOR, _exact_rows
    return _table(conf, hash_1, hash_2, factor, *args, **options)


def _exact_rows(name: str, *result: Any) -> Iterator[tuple[Any, ...]]:
    return _rows(name, *result) if name.startswith(EXACT) else iter(())


class NotInstallable(util.ProcessError, util.UserError):  # type: ignore[misc]
    """A release without an environment: `asv run` skips it, and `asv find` ends with one clear line."""

    def __init__(self, reason: str) -> None:
        super().__init__(["install"], 1, "", reason)

    def __str__(self) -> str:
        return str(self.stderr)


class Installed(msgspec.Struct, frozen=True):
    """The stack that an asv environment runs at the moment, and its Python executable."""

    stack: str
    python: str


class StackEnvironment(Environment):  # type: ignore[misc]
    """Runs the benchmarks of a release in the environment of its era lock, which holds nothing else.

    Releases are never installed over each other: each has a separate environment in the cache. asv's runner
    is added by path. Versions under `req` in asv's matrix are pins of the stack.

    The process of a benchmark has OUTLIVE_STACK, its stack (`aiohttp==3.11.14,python==3.11`); OUTLIVE_PYTHON,
    the Python that has the harness; and OUTLIVE_ROOT, the checkout.
    """

    tool_name = "outlive"

    def __init__(
        self, conf: Any, python: str, requirements: dict[str, str], tagged_env_vars: dict[Any, str]
    ) -> None:
        try:
            self._interpreter = pythons.choose([], python)
        except OutliveError as error:
            raise EnvironmentUnavailable(str(error)) from None
        self._requirements = requirements  # asv reads it before it sets it
        super().__init__(conf, python, requirements, tagged_env_vars)
        self._checkout = Project.find()
        self._pins = tuple(
            Package(name, version) for name, version in sorted(requirements.items()) if version
        )
        self._runner = Path(self._path, "runner")
        self._state = Path(self._path, "installed.json")

    @property
    def installed_commit_hash(self) -> None:
        """None, so that asv always calls `install_project`, which is cheap for an existing environment."""
        return

    def create(self) -> None:
        """Make the folder from which only asv's runner is imported."""
        source = Path(asv_runner.__file__).parent
        link = self._runner / source.name
        if link.resolve() != source:
            self._runner.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(source)

    def install_project(self, conf: Any, repo: Any, commit_hash: str) -> None:  # noqa: ARG002
        """Install the environment of the release of `commit_hash`. Raises NotInstallable if that fails.

        Raises UserError for anything but a full hash: asv names results by its first eight characters.
        """
        if not HASH.fullmatch(commit_hash):
            raise util.UserError(
                f"{commit_hash} is not a commit hash, so its results would overwrite those of other "
                "releases: use `asv run ALL` or a range instead of TAGS"
            )
        try:
            installed = self._install(commit_hash)
        except OutliveError as error:
            log.error(str(error))
            raise NotInstallable(str(error)) from error
        # on disk, because asv may install in another process than the one that runs
        write_text(self._state, msgspec.json.encode(installed).decode())
        self._set_commit_hash(commit_hash)

    def run(self, args: Sequence[str], **kwargs: Any) -> Any:
        """Run the installed release's Python with `args`; return the result of asv's `check_output`."""
        return self.run_executable("python", args, **kwargs)

    def find_executable(self, executable: str) -> str:
        """Return the path of a program of the installed release. Raises OSError if there is none."""
        return str(util.which(executable, [str(Path(self._installed().python).parent)]))

    def run_executable(self, executable: str, args: Sequence[str], **kwargs: Any) -> Any:
        """Run a program of the installed release; return the result of asv's `check_output`."""
        environ = self._variables(kwargs.pop("env", os.environ))
        kwargs["timeout"] = kwargs.get("timeout") or self._install_timeout
        return util.check_output([self.find_executable(executable), *args], env=environ, **kwargs)

    def _install(self, commit: str) -> Installed:
        project, python = self._checkout, self._interpreter.minor
        named = repository.release_at(repository.path(project), commit)
        stack = Stack(named.framework, named.release, self.python, self._pins)
        release = Catalogue.load(project, stack.framework).find(stack.release)
        if reason := release.why_not(python):
            raise UnavailableError(f"{reason}: choose another Python, as in -E outlive:3.10")
        environment = environments.ensure(locks.era(project, release, python, self._pins), self._interpreter)
        modules = frameworks.load(project, stack.framework).modules
        if error := environments.import_error(environment, modules):
            raise UnavailableError(f"{stack} cannot be imported: {error}")
        return Installed(str(stack), str(environment.python))

    def _installed(self) -> Installed:
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=Installed)
        except (OSError, msgspec.DecodeError):
            raise util.UserError(f"no release is installed into {self.name}") from None

    def _variables(self, given: Mapping[str, str]) -> dict[str, str]:
        installed = self._installed()
        environ = {name: value for name, value in given.items() if name not in LEAKING}
        environ.update(self._global_env_vars)
        environ["PATH"] = f"{Path(installed.python).parent}{os.pathsep}{given.get('PATH', os.defpath)}"
        environ["PYTHONPATH"] = str(self._runner)
        environ["OUTLIVE_PYTHON"] = sys.executable
        environ["OUTLIVE_ROOT"] = str(self._checkout.root)
        environ["OUTLIVE_STACK"] = installed.stack
        return environ


class Site(OutputPublisher):  # type: ignore[misc]
    """The last step of `asv publish`: see `outlive.asv.assets`."""

    name = "site"

    @classmethod
    def publish(cls, conf: Any, repo: Any, benchmarks: Any, graphs: Any, revisions: Any) -> None:  # noqa: ARG003
        """Make the pages name releases and load nothing from elsewhere; warn if they still do."""
        folder = Path(conf.html_dir)
        groups = {name: graphs.get_graph_group(name) for name in benchmarks}
        assets.open_on_history(folder, {name: group for name, group in groups.items() if group})
        assets.name_releases(folder, {commit: name for name, commit in repo.get_tags().items()})
        try:
            assets.bring_home(folder)
        except OutliveError as error:
            log.warning(f"the pages need the internet: {error}")
