"""Watching a run's files: following what grows, reading its lines, and telling who wants to know."""
