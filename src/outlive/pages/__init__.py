"""All HTML and SVG: reports, frameworks, leaks, the home page and the site they make."""
