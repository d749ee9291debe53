"""The baseline is configured as fairly as it can be."""

from __future__ import annotations

from bench.haproxy import configuration


def test_each_endpoint_has_its_own_models_and_each_model_one_request_at_a_time() -> None:
    lines = configuration(80, {"a": [1, 2], "b": [3]}, "leastconn").splitlines()
    assert "  use_backend a if { path_beg /e/a/ }" in lines
    at = lines.index("backend a")
    assert lines[at : at + 6] == [
        "backend a",
        "  balance leastconn",
        "  server s1 127.0.0.1:1 maxconn 1",
        "  server s2 127.0.0.1:2 maxconn 1",
        "backend b",
        "  balance leastconn",
    ]
