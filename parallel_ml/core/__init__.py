"""The pure core: what a run is and how it moves on. No input or output, no clock, no environment, no threads."""
