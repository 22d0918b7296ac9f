"""Generated pages are what the code says now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).parents[1]


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, CHECKOUT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_how_we_decide_is_generated_from_the_constants() -> None:
    generate = script("docs/generate.py")
    assert generate.page() == generate.PAGE.read_text(encoding="utf-8"), "run `python docs/generate.py`"


@pytest.mark.parametrize("name", ["decision_rates", "interval_choice"])
def test_what_was_simulated_was_so_with_these_constants(name: str) -> None:
    simulation = script(f"benchmarks/by_hand/{name}.py")
    stored = json.loads(simulation.FILE.read_bytes())
    assert stored["constants"] == simulation.constants(), f"run `python benchmarks/by_hand/{name}.py`"


def test_the_page_shows_every_constant_that_decides() -> None:
    from outlive import growth, metrics, noise

    page = (CHECKOUT / "docs" / "how-we-decide.md").read_text(encoding="utf-8")
    for module in (growth, noise, metrics):
        names = [name for name in vars(module) if name.isupper() and isinstance(getattr(module, name), float)]
        assert not [name for name in names if f"| `{name}` |" not in page]


def test_the_page_of_advice_is_what_is_stored() -> None:
    advice = script("docs/advice.py")
    assert advice.page() == advice.PAGE.read_text(encoding="utf-8"), "run `python docs/advice.py`"
