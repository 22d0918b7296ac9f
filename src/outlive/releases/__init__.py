"""What there is: the catalogue of releases, their lineage, and what their changelogs claim."""
