"""Pages, plots and the static site: everything that turns a `reports.Report` into something to look at."""
