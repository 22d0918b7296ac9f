"""The verbs to start with."""
