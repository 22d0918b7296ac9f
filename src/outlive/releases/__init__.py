"""What has been released: the catalogue of releases, their lineage, and what their changelogs claim."""
