"""The language runtime service, as the engine calls it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import empty_pb2, json_format
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from holdfast_sandbox.plugins.language import executor, packages
from holdfast_sandbox.plugins.language.children import Channel, Children, lines
from holdfast_sandbox.plugins.language.interpreter import Interpreter, InterpreterError, choose, usable

_HERE: Final = Path(__file__).parent
OWN: Final = Path(sys.executable)
"""The interpreter that runs the sandbox: used where a program names none."""
NO_CODE: Final = (
    "the sandbox's language host runs programs and does not write them (no convert, no package SDKs): with "
    "`pulumi import`, pass --generate-code=false; for the rest install Pulumi's own pulumi-language-python"
)


class PythonHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Answers one engine."""

    def __init__(self, engine_address: str, end: Callable[[], None]) -> None:
        """`end` makes the server stop, soon and not at once: the answer to the call is still under way."""
        self._engine_address = engine_address
        self._end = end
        self._children = Children()

    def end_children(self) -> None:
        """End every program and plugin that still runs."""
        self._children.end_all()

    # What the engine asks before it runs anything.

    def Handshake(self, request: Any, context: Any) -> Any:
        """The engine introduces itself."""
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """The version: that of the SDK which the host is built on."""
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def About(self, request: Any, context: Any) -> Any:
        """Which Python a program would run with; `pulumi about` shows it."""
        chosen = self._chosen(request.info, context)
        version = platform.python_version()
        if chosen.executable != OWN:
            shown = subprocess.run([chosen.executable, "-V"], capture_output=True, text=True, check=False)
            version = shown.stdout.strip().removeprefix("Python ")
        return language_pb2.AboutResponse(
            executable=str(chosen.executable),
            version=version,
            metadata={"host": "the sandbox's stand-in for pulumi-language-python"},
        )

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        """`pulumi new` asks nothing: without options, the interpreter of the sandbox is used."""
        return language_pb2.RuntimeOptionsResponse()

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        """The plugins of every Pulumi package that the program's environment has."""
        answer = language_pb2.GetRequiredPackagesResponse()
        for plugin in self._installed(request.info, context)["plugins"]:
            dependency = plugin_pb2.PackageDependency(
                name=plugin["name"], kind="resource", version=plugin["version"], server=plugin["server"]
            )
            extra = plugin["parameterization"]
            if extra:
                dependency.parameterization.name = extra["name"]
                dependency.parameterization.version = extra["version"]
                dependency.parameterization.value = b64decode(extra["value"])
            answer.packages.append(dependency)
        return answer

    def GetRequiredPlugins(self, request: Any, context: Any) -> Any:
        """The same for engines that do not know packages."""
        answer = language_pb2.GetRequiredPluginsResponse()
        for plugin in self._installed(request.info, context)["plugins"]:
            answer.plugins.append(
                plugin_pb2.PluginDependency(
                    name=plugin["name"], kind="resource", version=plugin["version"], server=plugin["server"]
                )
            )
        return answer

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        """Every distribution in the program's environment, which does not say which are transitive."""
        found = self._installed(request.info, context)["dependencies"]
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(**one) for one in found]
        )

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        """Make the environment that the options name, and install what the program's folder asks for."""
        root = Path(request.info.root_directory or request.directory)
        program = Path(request.info.program_directory or request.directory)
        chosen = self._chosen(request.info, context, root=root, must_exist=False)
        if chosen.virtualenv is None:
            text = f"{OWN} is used, which has its packages: nothing to install\n"
            yield language_pb2.InstallDependenciesResponse(stdout=text.encode())
            return
        for command in install_commands(chosen, root, program):
            child = self._children.start(command, cwd=root, piped=True)
            context.add_callback(lambda child=child: self._children.end(child))
            for channel, line in lines(child):
                yield language_pb2.InstallDependenciesResponse(**{channel: line})
            code = self._children.wait(child)
            if code != 0:
                shown = " ".join(str(word) for word in command)
                _refuse(context, f"`{shown}` ended with exit code {code}: its output above says why")

    # Programs and plugins.

    def Run(self, request: Any, context: Any) -> Any:
        """Run a program to its end in a process of its own, its output going where the host's goes."""
        directory = request.info.program_directory or request.pwd
        chosen = self._chosen(request.info, context)
        if request.attach_debugger:
            _refuse(
                context,
                "the sandbox's language host attaches no debugger: use breakpoint-free logging, "
                "or install Pulumi's own pulumi-language-python",
            )
        child = self._children.start(
            [chosen.executable, "-u", executor.__file__], cwd=request.pwd or directory, piped=False
        )
        context.add_callback(lambda: self._children.end(child))
        assert child.stdin is not None, "a child's standard input is a pipe"
        try:
            child.stdin.write(json.dumps(self._what_to_run(request, directory)).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            pass  # it ended before it could read; its exit code says so
        code = self._children.wait(child)
        child.stdin.close()
        if code == executor.SHOWN:
            return language_pb2.RunResponse(bail=True)
        if code < 0:
            return language_pb2.RunResponse(error=f"the program was ended by signal {-code}")
        if code > 0:
            return language_pb2.RunResponse(error=f"the program exited with exit code {code}")
        return language_pb2.RunResponse()

    def _what_to_run(self, request: Any, directory: str) -> dict[str, Any]:
        entry = request.info.entry_point or "."
        return {
            "program": os.path.normpath(Path(directory) / entry),
            "program_directory": directory,
            "pwd": request.pwd or directory,
            "args": list(request.args),
            "config": dict(request.config),
            "config_secret_keys": list(request.configSecretKeys),
            "settings": {
                "monitor": request.monitor_address,
                "engine": self._engine_address,
                "project": request.project,
                "stack": request.stack,
                "parallel": request.parallel,
                "dry_run": request.dryRun,
                "organization": request.organization or "organization",
                "root_directory": request.info.root_directory,
            },
        }

    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        """Run a policy pack or a component package, which serve the engine, and pass on their output."""
        chosen = self._chosen(request.info, context)
        directory = request.info.program_directory or request.pwd
        program = os.path.normpath(Path(directory) / (request.info.entry_point or "."))
        named = dict(entry.split("=", 1) for entry in request.env if "=" in entry)
        child = self._children.start(
            [chosen.executable, "-u", program, *request.args],
            cwd=request.pwd or directory,
            environment=os.environ | named,
            piped=True,
        )
        context.add_callback(lambda: self._children.end(child))
        for channel, line in lines(child):
            yield _plugin_output(channel, line)
        yield language_pb2.RunPluginResponse(exitcode=self._children.wait(child))

    def Cancel(self, request: Any, context: Any) -> Any:
        """The engine needs this host no more, and waits some seconds for one that does not end by itself."""
        self._children.end_all()
        self._end()
        return empty_pb2.Empty()

    # What it does not do.

    def Template(self, request: Any, context: Any) -> Any:
        """A new project's files are taken as they are."""
        return language_pb2.TemplateResponse()

    def GenerateProgram(self, request: Any, context: Any) -> Any:
        """Not done here."""
        _unimplemented(context)

    def GenerateProject(self, request: Any, context: Any) -> Any:
        """Not done here."""
        _unimplemented(context)

    def GeneratePackage(self, request: Any, context: Any) -> Any:
        """Not done here."""
        _unimplemented(context)

    def Pack(self, request: Any, context: Any) -> Any:
        """Not done here."""
        _unimplemented(context)

    def Link(self, request: Any, context: Any) -> Any:
        """Not done here."""
        _unimplemented(context)

    # Shared.

    def _chosen(
        self, info: Any, context: Any, root: Path | None = None, *, must_exist: bool = True
    ) -> Interpreter:
        options = json_format.MessageToDict(info.options) if info.HasField("options") else {}
        try:
            chosen = choose(options, root or Path(info.root_directory or "."), OWN)
            return usable(chosen) if must_exist else chosen
        except InterpreterError as error:
            _refuse(context, str(error))

    def _installed(self, info: Any, context: Any) -> dict[str, list[dict[str, Any]]]:
        chosen = self._chosen(info, context)
        if chosen.executable == OWN:
            return packages.installed()
        shown = subprocess.run(
            [chosen.executable, packages.__file__], capture_output=True, text=True, check=False
        )
        if shown.returncode != 0:
            _refuse(context, f"{chosen.executable} cannot list its packages:\n{shown.stderr}")
        answer: dict[str, list[dict[str, Any]]] = json.loads(shown.stdout)
        return answer


def install_commands(chosen: Interpreter, root: Path, program: Path) -> list[list[str | Path]]:
    """What makes the environment and fills it, in order; empty where the options name none."""
    if chosen.virtualenv is None:
        return []
    if chosen.toolchain == "uv":
        return [["uv", "sync", "--project", root]]
    commands: list[list[str | Path]] = []
    if not chosen.executable.exists():
        commands.append([OWN, "-m", "venv", chosen.virtualenv])
    for folder in dict.fromkeys((program, root)):
        if (folder / "requirements.txt").is_file():
            requirements = folder / "requirements.txt"
            commands.append([chosen.executable, "-m", "pip", "install", "-r", requirements])
            break
        if (folder / "pyproject.toml").is_file():
            commands.append([chosen.executable, "-m", "pip", "install", "-e", folder])
            break
    return commands


def _plugin_output(channel: Channel, line: bytes) -> Any:
    if channel == "stdout":
        return language_pb2.RunPluginResponse(stdout=line)
    return language_pb2.RunPluginResponse(stderr=line)


def _refuse(context: Any, text: str) -> NoReturn:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
    raise AssertionError("abort raises")


def _unimplemented(context: Any) -> NoReturn:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_CODE)
    raise AssertionError("abort raises")
