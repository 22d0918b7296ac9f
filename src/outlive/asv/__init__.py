"""asv over releases: its repository, its plugin, the results and the pages that it reads and writes."""
