"""Applications of a user's own: `outlive.toml` read, and opened as a project with one framework, the app."""
