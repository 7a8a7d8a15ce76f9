"""The shim: one small process that guards one attempt. Standard library only; it imports nothing else of the package.

It is started as `python -IS -c ...` by a back end, in a session of its own, and lives as long as the attempt.
"""
