"""Measure what framework releases leave in memory after failed requests, and compare them."""

__version__ = "0.1.0"
