"""What the project says of its own speed, measured: one module a claim, each against a peer in the same run."""
