"""`python -m holdfast_sandbox`: the same as `holdfast sandbox`, for machines where only this package is there."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from holdfast_sandbox import codeimages, lifecycle
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import default_paths


def main() -> int:
    """Run one command; 0 when it worked, 1 with a message when it did not."""
    parser = argparse.ArgumentParser(prog="holdfast sandbox", description="A whole platform on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("tools", nargs="*")
    commands.add_parser("up").add_argument(
        "--no-images", action="store_true", help="do not build the images of services and templates"
    )
    downs = commands.add_parser("down")
    downs.add_argument("--purge", action="store_true")
    downs.add_argument("--cache", action="store_true")
    commands.add_parser("status").add_argument("--json", action="store_true")
    commands.add_parser("env")
    commands.add_parser("demo")
    image = commands.add_parser("image", help="what HOLDFAST_BUILDER names").add_subparsers(
        dest="action", required=True
    )
    build = image.add_parser("build")
    build.add_argument("--push", action="store_true")
    build.add_argument("folder", type=Path)
    build.add_argument("reference")
    image.add_parser("digest").add_argument("reference")
    given = parser.parse_args()
    try:
        return _run(given)
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(given: argparse.Namespace) -> int:
    match given.command:
        case "build":
            lifecycle.build(given.tools)
        case "up":
            lifecycle.up(project_images=not given.no_images)
        case "down":
            lifecycle.down(purge=given.purge, cache=given.cache)
        case "status":
            current = lifecycle.status()
            print(lifecycle.status_json(current) if given.json else describe(current))
            return 0 if current.up else 3
        case "env":
            for name, value in lifecycle.environment().items():
                print(f"export {name}={shlex.quote(value)}")
        case "image":
            return _image(given)
        case "demo":
            from holdfast_sandbox import demo

            demo.run()
    return 0


def _image(given: argparse.Namespace) -> int:
    if given.action == "build":
        print(codeimages.build(default_paths(), given.folder, given.reference, push=given.push))
        return 0
    digest = codeimages.digest(default_paths(), given.reference)
    if digest is None:
        print(f"{given.reference} is not in the registry", file=sys.stderr)
        return 4
    print(digest)
    return 0


def describe(current: lifecycle.Status) -> str:
    """The status for a person."""
    lines = [
        f"sandbox   {'up' if current.up else 'not up'}",
        f"gateway   {current.gateway_url}",
        f"state     {current.state_dir} ({current.disk_mib} MiB)",
        f"memory    {current.memory_mib} MiB in {len(current.processes)} processes, pods included",
    ]
    if current.missing:
        lines.append(f"missing   {', '.join(current.missing)}: `holdfast sandbox up` starts them")
    lines += [f"waiting   {one['namespace']}/{one['pod']}: {one['reason']}" for one in current.waiting]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
