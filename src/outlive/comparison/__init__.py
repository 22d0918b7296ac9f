"""Comparisons: what changes from one stack to another, in exact replays and under load, as text too. Pure."""
