"""The language protocol: run a program, a policy pack or a component package in a process of its own."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

PROGRAM = Path(__file__).with_name("program.py")
BAIL_EXIT_CODE = 32
"""The program has told the engine what went wrong; the official host uses the same number."""


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs Python for the engine."""

    def __init__(self, engine_address: str, end: Callable[[], None]) -> None:
        self._engine_address = engine_address
        self._end = end
        self._programs: set[subprocess.Popen[bytes]] = set()

    def Handshake(self, request: Any, context: Any) -> Any:
        """The engine introduces itself."""
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """The version of the SDK whose runtime this is."""
        return plugin_pb2.PluginInfo(version=metadata.version("pulumi"))

    def About(self, request: Any, context: Any) -> Any:
        """Which Python runs programs."""
        interpreter = interpreter_for(request.info)
        shown = subprocess.run([interpreter, "--version"], capture_output=True, text=True, check=False)
        return language_pb2.AboutResponse(executable=interpreter, version=shown.stdout.split()[-1])

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        """The provider plugins that the installed packages name."""
        return language_pb2.GetRequiredPackagesResponse(
            packages=[
                plugin_pb2.PackageDependency(name=found["name"], kind="resource", version=found["version"])
                for found in required_plugins(interpreter_for(request.info))
            ]
        )

    def GetRequiredPlugins(self, request: Any, context: Any) -> Any:
        """As GetRequiredPackages, for engines that ask the older way."""
        return language_pb2.GetRequiredPluginsResponse(
            plugins=[
                plugin_pb2.PluginDependency(name=found["name"], kind="resource", version=found["version"])
                for found in required_plugins(interpreter_for(request.info))
            ]
        )

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        """What is installed beside the program, for `pulumi about`."""
        listed = _ask(interpreter_for(request.info), _LIST_DISTRIBUTIONS)
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[
                language_pb2.DependencyInfo(name=one["name"], version=one["version"]) for one in listed
            ]
        )

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        """Nothing to install: programs run in the environment that holdfast was installed into."""
        message = b"dependencies come from the environment that holdfast is installed in\n"
        yield language_pb2.InstallDependenciesResponse(stdout=message)

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        """No questions when a project is made."""
        return language_pb2.RuntimeOptionsResponse()

    def Run(self, request: Any, context: Any) -> Any:
        """Run a program to its end. Its request goes through a pipe: it holds decrypted configuration."""
        environment = os.environ | {"PULUMI_ENGINE_ADDRESS": self._engine_address}
        process = subprocess.Popen(
            [interpreter_for(request.info), "-u", str(PROGRAM)],
            stdin=subprocess.PIPE,
            cwd=request.pwd,
            env=environment,
        )
        self._programs.add(process)
        context.add_callback(process.kill)
        try:
            assert process.stdin is not None
            process.stdin.write(request.SerializeToString())
            process.stdin.close()
            code = process.wait()
        finally:
            self._programs.discard(process)
        if code == 0:
            return language_pb2.RunResponse()
        if code == BAIL_EXIT_CODE:
            return language_pb2.RunResponse(bail=True)
        how = f"exited with code {code}" if code > 0 else f"was ended by signal {-code}"
        return language_pb2.RunResponse(error=f"the program {how}")

    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        """Run a policy pack or a component package, passing its output on as it comes."""
        program = request.info.program_directory or request.pwd
        environment = dict(entry.split("=", 1) for entry in request.env) or dict(os.environ)
        process = subprocess.Popen(
            [interpreter_for(request.info), "-u", program, *request.args],
            cwd=request.pwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._programs.add(process)
        context.add_callback(process.kill)
        lines: queue.Queue[tuple[str, bytes]] = queue.Queue()

        def pump(stream: Any, kind: str) -> None:
            for line in iter(stream.readline, b""):
                lines.put((kind, line))
            lines.put(("end", b""))

        for stream, kind in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            threading.Thread(target=pump, args=(stream, kind), daemon=True).start()
        ended = 0
        while ended < 2:
            kind, line = lines.get()
            if kind == "end":
                ended += 1
            else:
                yield language_pb2.RunPluginResponse(**{kind: line})
        self._programs.discard(process)
        yield language_pb2.RunPluginResponse(exitcode=process.wait())

    def Cancel(self, request: Any, context: Any) -> Any:
        """The engine needs this host no more. It waits some seconds for a host that does not end by itself."""
        self.end_programs()
        threading.Thread(target=self._end, daemon=True).start()
        return empty_pb2.Empty()

    def end_programs(self) -> None:
        """End every program that still runs."""
        for process in list(self._programs):
            process.terminate()


def interpreter_for(info: Any) -> str:
    """The Python that runs a program: that of its `virtualenv` runtime option, else the one we run in.

    A relative `virtualenv` is looked for beside Pulumi.yaml.
    """
    options = MessageToDict(info.options) if info is not None and info.HasField("options") else {}
    virtualenv = options.get("virtualenv")
    if not virtualenv:
        return sys.executable
    folder = Path(virtualenv)
    if not folder.is_absolute():
        folder = Path(info.root_directory or info.program_directory) / folder
    python = folder / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(
            f"virtualenv is {virtualenv}, but {python} is not there: make it, or change the option"
        )
    return str(python)


def required_plugins(interpreter: str) -> list[dict[str, str]]:
    """Name and version from the `pulumi-plugin.json` of every installed package that has one."""
    found: list[dict[str, str]] = _ask(interpreter, _LIST_PLUGINS)
    return found


def _ask(interpreter: str, program: str) -> Any:
    shown = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)


_LIST_DISTRIBUTIONS = """
import json
from importlib.metadata import distributions
print(json.dumps(sorted(
    ({"name": d.metadata["Name"], "version": d.version} for d in distributions()), key=lambda d: d["name"]
)))
"""
_LIST_PLUGINS = """
import json, pathlib, sysconfig
found = []
for file in sorted(pathlib.Path(sysconfig.get_path("purelib")).glob("*/pulumi-plugin.json")):
    content = json.loads(file.read_text())
    if content.get("resource") and content.get("version"):
        found.append({"name": content.get("name", file.parent.name), "version": content["version"].lstrip("v")})
print(json.dumps(found))
"""
