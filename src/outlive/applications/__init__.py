"""Your own applications: read from `outlive.toml`, and opened as a project with one framework, the app."""
