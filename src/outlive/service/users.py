"""Users of a load test: each sends its own mix of scenarios, or what the user's own locustfile says.

A user is a name in `users.toml`, or `FILE.py` or `FILE.py:Class`: all users of a locustfile, or one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from outlive.errors import UsageError
from outlive.files import decode_toml, read_bytes
from outlive.records.load import Traffic
from outlive.service import scenarios
from outlive.wording import nearest, one_line

HERE = Path()
USUAL = "ErrorHeavy"
"""The user that sends if none is named."""
Weight = Annotated[int, msgspec.Meta(ge=0)]


def load(path: Path) -> dict[str, dict[str, int]]:
    """Return the users in the file `path` with their weights. Raises UsageError if it is malformed."""
    try:
        return decode_toml(read_bytes(path), dict[str, dict[str, Weight]])
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(f"{path}: not a file of users: {' '.join(str(error).split())}") from None


def locustfile(user: str) -> tuple[str, str] | None:
    """Return a user's locustfile and class (empty: all in the file), or None for a user of `users.toml`."""
    file, _, name = user.partition(":")
    return (file, name) if file.endswith(".py") else None


def weights(loadtests: Path, user: str, patterns: Sequence[str] = ()) -> dict[str, int]:
    """Return the weight of each scenario that `user` sends, from `users.toml` in the folder `loadtests`.

    `patterns` select scenarios; a selected scenario that the user does not send otherwise has weight 1.
    A user of a locustfile sends no scenarios. Raises UsageError with the nearest names for an unknown user or
    pattern, and for a file that does not have the form that the comment at its top describes.
    """
    if locustfile(user):
        return {}
    every_scenario = scenarios.load(loadtests / "scenarios.toml")
    path = loadtests / "users.toml"
    users = load(path)
    if user not in users:
        raise UsageError(f"no user {user!r}; try {nearest(user, sorted(users))}")
    sent = {name: weight for name, weight in users[user].items() if weight}
    unknown = sorted(users[user].keys() - {scenario.name for scenario in every_scenario})
    if unknown or not sent:
        raise UsageError(f"{path}: {user} sends {', '.join(unknown) or 'nothing'}: not a scenario")
    if not patterns:
        return sent
    return {
        scenario.name: sent.get(scenario.name, 1) for scenario in scenarios.select(every_scenario, patterns)
    }


def mix(loadtests: Path, user: str, patterns: Sequence[str] = ()) -> dict[str, float]:
    """Return each scenario's fraction of the requests that `user` sends; the fractions add up to 1.

    Arguments and errors are those of `weights`.
    """
    weight_of = weights(loadtests, user, patterns)
    total = sum(weight_of.values())
    return {name: weight / total for name, weight in weight_of.items()}


def check(loadtests: Path, traffic: Traffic, *, folder: Path = HERE) -> None:
    """Raise UsageError if users cannot send this traffic; the user's own locustfile is in `folder`."""
    traffic.check()
    parts = locustfile(traffic.user)
    if parts and not (folder / parts[0]).is_file():
        raise UsageError(f"{folder / parts[0]}: there is no such locustfile")
    if parts and ("," in parts[0] or not parts[0].isprintable()):
        raise UsageError(f"{one_line(parts[0])!r}: locust cannot read a file of that name: rename it")
    if parts and (traffic.requests or traffic.rate or traffic.scenarios):
        raise UsageError(
            f"{traffic.user} decides what is sent, and how fast: name a duration, and neither a number of "
            "requests nor a rate or scenarios"
        )
    weights(loadtests, traffic.user, traffic.scenarios)


class Deck:
    """Deals scenarios by their weights: each round is one shuffled deck with the exact mix.

    The same seed deals the same cards, so two load tests send the same requests in the same order.
    """

    def __init__(self, weights: Mapping[str, int], seed: str) -> None:
        self._round = [name for name, weight in weights.items() for _ in range(weight)]
        self._cards: list[str] = []
        self._random = random.Random(seed)  # noqa: S311 - traffic, not a secret

    def draw(self) -> str:
        """Return the name of the next scenario."""
        if not self._cards:
            self._cards = self._random.sample(self._round, len(self._round))
        return self._cards.pop()
