"""The command line: one verb, one file. `main` finds the verb and turns errors into text and exit codes."""
