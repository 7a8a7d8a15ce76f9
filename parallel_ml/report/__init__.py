"""Reports of runs: one HTML file that needs nothing else, Markdown, and JSON, from what the runs left on the disk."""
