"""The sandbox's language host for Python: `pulumi-language-python` where the official one cannot be had.

The official one comes with Pulumi's installer and from no package registry. This one does the same through
the same protocol, over the runtime that the Python SDK carries. `host` answers the engine; each program runs in
a process of its own (`executor`), with the interpreter that its Pulumi.yaml names (`interpreter`), so a crash
of a program cannot take the host along.
"""
