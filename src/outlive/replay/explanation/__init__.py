"""Why something stays: samples of survivors, allocations, reduced scenarios, reproducers."""
