"""The verbs for one stack or two."""
