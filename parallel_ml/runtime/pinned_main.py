"""`python THIS FOLDER -m MODULE ...` and `python THIS FOLDER -c TEXT ...`: as without THIS FOLDER, but from FOLDER.

Python puts the working folder first of all where modules are looked for; here FOLDER takes its place, and nothing else
is other: `sys.argv`, `__main__` and its `__spec__` (by which multiprocessing finds it again) are what they would be.
It runs in any interpreter of Python 3, so it uses the standard library alone.
"""


def _run():  # type: ignore[no-untyped-def]  # noqa: ANN202 - older interpreters read it, too
    import sys  # noqa: PLC0415 - no name of ours stays in the program's __main__

    folder, how, what = sys.argv[1:4]
    sys.path[0] = folder
    import runpy  # noqa: PLC0415 - not before: until now modules were looked for beside this file

    sys.argv[:4] = [how]
    names = sys.modules["__main__"].__dict__
    for name in ("__file__", "__cached__", "_run"):
        names.pop(name, None)
    names["__doc__"] = None
    if how == "-m":
        runpy._run_module_as_main(what)  # type: ignore[attr-defined]  # noqa: SLF001 - it is what `-m` itself calls
    else:
        exec(compile(what, "<string>", "exec"), names)  # noqa: S102 - it is what `-c` does


if __name__ == "__main__":
    _run()  # type: ignore[no-untyped-call]
