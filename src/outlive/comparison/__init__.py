"""Two sides: what changes from one stack to another, exact and under load, and its text. Pure."""
