"""Does it grow, and what keeps it: the reasoning about leaks. Pure."""
