"""Load tests: many clients at once, simulated by locust, against one server."""
