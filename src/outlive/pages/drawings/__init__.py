"""SVG: plots, rings, the badge."""
