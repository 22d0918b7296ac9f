"""What several verbs share: options, progress, tables of what there is."""
