"""What runs: process identity, the shim, back ends, the supervisor, and the two doors: client and executor."""
