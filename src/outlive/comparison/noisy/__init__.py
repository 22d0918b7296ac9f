"""Noisy metrics: load tests over rounds, decided by a documented rule, as text too. Pure."""
