"""Gates: a release held against reviewed limits, proved by a planted leak and a planted cycle."""
