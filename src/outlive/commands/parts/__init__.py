"""What several verbs share: options, progress, tables."""
