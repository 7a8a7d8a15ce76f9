"""The shim: one small process that guards one attempt. Standard library only; it imports nothing else of the package.

It is forked from an image (`image.py`) or started as `python -IS -c ...`, in a session of its own, and lives as long
as the attempt.
"""
