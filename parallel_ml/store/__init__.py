"""What a run is on disk: its layout, its event log, its orders. One writer a file, always."""
