from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from holdfast_sandbox import images, oci
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.images import ProjectImage


def _blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def _static(folder: Path, name: str, *, content: bytes = b"\x7fELF binary") -> Path:
    binary = folder / "binary"
    binary.write_bytes(content)
    archive = folder / f"{name}.tar"
    oci.write_static_image(
        archive, "example.test/tool:1", binary, path="/usr/local/bin/tool", user="65532:65532"
    )
    return archive


def test_the_same_binary_gives_the_same_archive_byte_for_byte(tmp_path: Path) -> None:
    first, second = _static(tmp_path, "first"), _static(tmp_path, "second")
    assert first.read_bytes() == second.read_bytes()


def test_another_binary_gives_another_archive(tmp_path: Path) -> None:
    first = _static(tmp_path, "first").read_bytes()
    assert _static(tmp_path, "second", content=b"\x7fELF other").read_bytes() != first


def test_every_blob_is_named_by_its_digest_and_found_from_the_index(tmp_path: Path) -> None:
    blobs = _blobs(_static(tmp_path, "image"))
    for name, content in blobs.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    entry = json.loads(blobs["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == "example.test/tool:1"
    manifest = json.loads(blobs[f"blobs/{entry['digest'].replace(':', '/')}"])
    for part in (manifest["config"], *manifest["layers"]):
        assert len(blobs[f"blobs/{part['digest'].replace(':', '/')}"]) == part["size"]


def test_the_config_runs_the_binary_as_a_user_without_rights(tmp_path: Path) -> None:
    blobs = _blobs(_static(tmp_path, "image"))
    config = next(json.loads(blob) for blob in blobs.values() if b'"rootfs"' in blob[:4096])
    assert config["config"]["Entrypoint"] == ["/usr/local/bin/tool"]
    assert config["config"]["User"] == "65532:65532"


def test_the_history_has_an_entry_for_the_layer_so_that_others_can_build_upon_it(tmp_path: Path) -> None:
    blobs = _blobs(_static(tmp_path, "image"))
    config = next(json.loads(blob) for blob in blobs.values() if b'"rootfs"' in blob[:4096])
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 1


def test_the_layer_has_the_binary_its_folders_and_a_tmp_for_all(tmp_path: Path) -> None:
    _static(tmp_path, "image")
    with tarfile.open(tmp_path / "image.tar") as outer:
        layer = max((member for member in outer if member.isfile()), key=lambda member: member.size)
        with tarfile.open(fileobj=outer.extractfile(layer)) as tar:
            modes = {member.name: member.mode for member in tar}
    assert modes["usr/local/bin/tool"] == 0o755
    assert modes["tmp"] == 0o1777
    assert {"usr", "usr/local", "usr/local/bin", "etc/passwd"} <= set(modes)


def _project(folder: Path) -> ProjectImage:
    return ProjectImage("holdfast/x", folder / "Dockerfile", folder, (folder,))


def test_the_content_hash_changes_with_any_file_and_only_then(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    before = images.content_hash(_project(tmp_path))
    assert images.content_hash(_project(tmp_path)) == before
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "server.py").write_text("1\n")
    after = images.content_hash(_project(tmp_path))
    assert after != before
    (tmp_path / "more" / "server.py").rename(tmp_path / "more" / "other.py")
    assert images.content_hash(_project(tmp_path)) not in {before, after}


def test_byte_code_on_this_machine_is_no_reason_to_build_anew(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    before = images.content_hash(_project(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "server.cpython-311.pyc").write_bytes(b"x")
    assert images.content_hash(_project(tmp_path)) == before


def _template(checkout: Path, text: str) -> None:
    folder = checkout / "templates" / "x"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM a\n")
    (folder / "template.yaml").write_text(text)


def test_a_template_is_pushed_under_the_name_and_version_that_it_declares(tmp_path: Path) -> None:
    _template(tmp_path, "image: speech:2.1.0\n")
    services, template = images.project_images(tmp_path)
    assert services.name == "holdfast/services"
    assert (template.name, template.version) == ("holdfast/speech", "2.1.0")


def test_a_template_that_needs_a_gpu_is_not_built_where_there_is_none(tmp_path: Path) -> None:
    _template(tmp_path, "image: speech:2.1.0\nhardware: l4\n")
    assert [one.name for one in images.project_images(tmp_path)] == ["holdfast/services"]


def test_a_template_without_an_image_is_refused_with_what_to_write(tmp_path: Path) -> None:
    _template(tmp_path, "name: x\n")
    with pytest.raises(SandboxError) as refusal:
        images.project_images(tmp_path)
    assert str(refusal.value) == (
        f'{tmp_path}/templates/x/template.yaml: image is None: write "<repository>:<version>"'
    )


def test_every_image_of_the_project_has_a_dockerfile_and_all_its_inputs() -> None:
    for image in [*images.project_images(), *images.support_images()]:
        assert image.dockerfile.is_file()
        assert [str(path) for path in image.inputs if not path.exists()] == []
        assert all(path.is_relative_to(image.context) for path in image.inputs)


def test_dockerfiles_start_from_the_base_that_the_sandbox_makes() -> None:
    for image in [*images.project_images(), *images.support_images()]:
        froms = [line for line in image.dockerfile.read_text().splitlines() if line.startswith("FROM ")]
        assert froms == ["FROM docker.io/library/python:3.11-slim"]
