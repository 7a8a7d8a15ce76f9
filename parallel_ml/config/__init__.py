"""From a user's YAML to a checked configuration, and from that to the copy of each process.

`loading` reads files and `extends`, `schema` says what is allowed, `validation` puts what is wrong into words,
`preflight` looks at the machine, `resolve` makes the copy of a process, and `manager` is the front door.
"""
