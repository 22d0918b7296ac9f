"""Runs asv over releases: its plugin, the repository that it walks, its results and its pages."""
