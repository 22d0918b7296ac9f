"""Reports on upgrades: the verdict, the record of its evidence and statements, and their text renderings."""
