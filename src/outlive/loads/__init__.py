"""Load tests: many clients at once, by locust, against a server of ours."""
