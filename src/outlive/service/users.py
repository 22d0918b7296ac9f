"""What a load test sends: whose mix of scenarios, from how many clients, how much of it and how fast."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import msgspec

from outlive.errors import UsageError
from outlive.files import decode_toml
from outlive.records.load import Traffic
from outlive.service import scenarios

Weight = Annotated[int, msgspec.Meta(ge=0)]


def weights(loadtests: Path, user: str, patterns: Sequence[str] = ()) -> dict[str, int]:
    """Return the weight of each scenario that `user` sends, as `users.toml` in `loadtests` has it.

    With `patterns`, only of the scenarios that match one; one that the user does not send otherwise has
    weight 1. Raises UsageError for an unknown user or pattern, with the nearest names, and for a file that
    does not have the form that its own head describes.
    """
    known = scenarios.load(loadtests / "scenarios.toml")
    path = loadtests / "users.toml"
    try:
        users = decode_toml(path.read_bytes(), dict[str, dict[str, Weight]])
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(f"{path}: not a file of users: {' '.join(str(error).split())}") from None
    if user not in users:
        near = get_close_matches(user, users, n=3, cutoff=0.4) or sorted(users)
        raise UsageError(f"no user {user!r}; try {', '.join(near)}")
    found = {name: weight for name, weight in users[user].items() if weight}
    unknown = sorted(users[user].keys() - {scenario.name for scenario in known})
    if unknown or not found:
        raise UsageError(f"{path}: {user} sends {', '.join(unknown) or 'nothing'}: not a scenario")
    if not patterns:
        return found
    return {scenario.name: found.get(scenario.name, 1) for scenario in scenarios.select(known, patterns)}


def mix(loadtests: Path, user: str, patterns: Sequence[str] = ()) -> dict[str, float]:
    """Return the share of each scenario among the requests that `user` sends; they sum up to 1.

    Arguments and errors are those of `weights`.
    """
    found = weights(loadtests, user, patterns)
    total = sum(found.values())
    return {name: weight / total for name, weight in found.items()}


def check(loadtests: Path, traffic: Traffic) -> None:
    """Raise UsageError where the users in the folder `loadtests` cannot send such traffic."""
    traffic.check()
    weights(loadtests, traffic.user, traffic.scenarios)


class Deck:
    """Deals scenarios by their weights: each round of `sum(weights)` cards holds the mix exactly, shuffled.

    The same seed deals the same cards, so that two load tests send the same requests in the same order.
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
