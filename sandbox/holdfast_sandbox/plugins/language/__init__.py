"""A language host for Python programs: what the engine asks to run `__main__.py`.

The official `pulumi-language-python` comes with Pulumi's installer and from no package registry. This one does the
same through the same protocol, over the runtime that the Python SDK carries; it is used where the official one
is not installed.
"""
