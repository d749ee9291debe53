"""OCI image archives of one layer, written without a registry, a daemon or an image tool.

What goes in decides every byte: the same files give the same digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path, PurePosixPath


def write_static_image(archive: Path, name: str, binary: Path, *, path: str, user: str) -> None:
    """An OCI archive of one layer: the binary at `path`, /tmp, and a passwd file that names the user.

    The same binary gives the same bytes, hence the same digest.
    """
    layer = archive.with_suffix(".layer")
    parents = [str(parent).lstrip("/") for parent in reversed(PurePosixPath(path).parents)][1:]
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder in ("etc", "tmp", *parents):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        passwd = b"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
        info = tarfile.TarInfo("etc/passwd")
        info.size, info.mode = len(passwd), 0o644
        tar.addfile(info, io.BytesIO(passwd))
        info = tarfile.TarInfo(path.lstrip("/"))
        info.size, info.mode = binary.stat().st_size, 0o755
        with binary.open("rb") as stream:
            tar.addfile(info, stream)
    write_oci_archive(archive, name, layer, entrypoint=[path], user=user)
    layer.unlink()


def write_oci_archive(
    archive: Path, name: str, layer: Path, *, entrypoint: list[str] | None = None, user: str = ""
) -> None:
    """Wrap one uncompressed layer as an OCI image archive. The same layer gives the same bytes."""
    with layer.open("rb") as stream:
        layer_digest = hashlib.file_digest(stream, "sha256").hexdigest()
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    settings: dict[str, object] = {"Env": [path], "WorkingDir": "/", "User": user}
    if entrypoint:
        settings["Entrypoint"] = entrypoint
    config = _blob(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            # One entry per layer: image tools refuse to build upon an image whose history is shorter.
            "history": [{"created_by": "holdfast sandbox"}],
        }
    )
    oci = "application/vnd.oci.image"
    manifest = _blob(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": {"mediaType": f"{oci}.config.v1+json", **_descriptor(config)},
            "layers": [
                {
                    "mediaType": f"{oci}.layer.v1.tar",
                    "digest": f"sha256:{layer_digest}",
                    "size": layer.stat().st_size,
                }
            ],
        }
    )
    index = _blob(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.index.v1+json",
            "manifests": [
                {
                    "mediaType": f"{oci}.manifest.v1+json",
                    **_descriptor(manifest),
                    "platform": {"architecture": "amd64", "os": "linux"},
                    "annotations": {
                        "io.containerd.image.name": name,
                        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                    },
                }
            ],
        }
    )
    partial = archive.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", index)
        for blob in (config, manifest):
            _add(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        info = tarfile.TarInfo(f"blobs/sha256/{layer_digest}")
        info.size = layer.stat().st_size
        with layer.open("rb") as stream:
            tar.addfile(info, stream)
    shutil.move(partial, archive)


def _blob(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def _descriptor(blob: bytes) -> dict[str, object]:
    return {"digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
