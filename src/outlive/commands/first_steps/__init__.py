"""The verbs with which one begins."""
