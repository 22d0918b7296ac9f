"""The verbs for many releases, or many commits."""
