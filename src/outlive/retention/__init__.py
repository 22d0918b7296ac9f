"""Reasoning about leaks: does something grow, and what keeps it alive? Pure."""
