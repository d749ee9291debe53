"""`holdfast prices` and `metrics`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast_cli.exits import Exit
from pulumi_holdfast.plan.refresh import PriceChange, PriceError, refreshed
from pulumi_holdfast.spec.hardware import HardwareTable, hardware_table

Run = Callable[..., Any]
TABLE = Path(__file__).resolve().parents[3] / "components/pulumi_holdfast/spec/hardware.json"
LIST = """package pricing

// generated at 2027-01-02T03:04:05Z for us-east-1

var InitialOnDemandPricesAWS = map[string]map[ec2types.InstanceType]float64{
	// us-east-1
	"us-east-1": {
		// g6 family
		"g6.xlarge": 0.700000, "g6.2xlarge": 0.977600,
	},
	// eu-west-1
	"eu-west-1": {
		"g6.xlarge": 9.900000, "g5.xlarge": 9.900000,
	},
}
"""


def test_the_lists_prices_and_date_come_into_the_table_and_nothing_else_changes() -> None:
    before = TABLE.read_text()
    text, changes = refreshed(before, "us-east-1", LIST)
    assert PriceChange("g6.xlarge", 0.8048, 0.7) in changes
    assert PriceChange("g5.xlarge", 1.006, None) in changes, "another region's price is none"
    assert "g6.2xlarge" not in {one.machine for one in changes}
    after = HardwareTable.model_validate_json(text)
    assert (after.generated, after.instances["g6.xlarge"].usd_per_hour) == ("2027-01-02", 0.7)
    assert after.presets == hardware_table().presets
    changed = [line for line in text.splitlines() if line not in before.splitlines()]
    assert len(changed) == 2


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        (LIST.replace("generated at", "made"), "the list has no line `// generated at <date>`"),
        (LIST.replace('"us-east-1": {', '"x": {'), "the list has no prices for us-east-1"),
    ],
)
def test_a_list_that_is_none_is_refused(listed: str, text: str) -> None:
    with pytest.raises(PriceError, match=text):
        refreshed(TABLE.read_text(), "us-east-1", listed)


def test_refresh_shows_changes_and_writes_them_only_when_it_may(holdfast: Run, tmp_path: Path) -> None:
    table, listed = tmp_path / "hardware.json", tmp_path / "prices.go"
    shutil.copy(TABLE, table)
    listed.write_text(LIST)
    words = ("prices", "refresh", "--table", table, "--from", listed)
    done = holdfast(*words, "--dry-run")
    assert ["g6.xlarge", "0.8048", "0.7"] in [line.split() for line in done.out.splitlines()]
    assert table.read_text() == TABLE.read_text()
    holdfast(*words)
    assert HardwareTable.model_validate_json(table.read_text()).generated == "2027-01-02"
    again = json.loads(holdfast(*words, "--json").out)
    assert all(one["after"] is None for one in again), "only what the list has no price for is left"


def test_a_list_that_cannot_be_had_says_what_to_do_without_the_internet(
    holdfast: Run, tmp_path: Path
) -> None:
    done = holdfast("prices", "refresh", "--from", tmp_path / "none.go", expect=Exit.FAILED)
    assert "cannot be read: No such file or directory" in done.err
    assert "give it with --from" in done.err


def test_a_page_larger_than_any_list_is_refused_and_not_cut(
    holdfast: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "list.go"
    listed.write_text("x" * 65)
    monkeypatch.setattr("holdfast_cli.commands.prices._MAX_LIST_BYTES", 64)
    done = holdfast("prices", "refresh", "--from", listed.as_uri(), expect=Exit.FAILED)
    assert f"{listed.as_uri()} cannot be read: it is larger than" in done.err


def test_prices_are_shown_by_preset(holdfast: Run) -> None:
    lines = [line.split() for line in holdfast("prices", "show").out.splitlines()]
    assert lines[0] == ["PRESET", "GPUS", "MACHINE", "USD/HOUR"]
    assert ["l4", "1", "g6.xlarge", "0.8048"] in lines
    assert json.loads(holdfast("prices", "show", "--json").out)["region"] == "us-east-1"


def test_metrics_say_how_busy_fast_and_expensive_an_endpoint_is(holdfast: Run, gateway: Any) -> None:
    found = {
        "name": "echo",
        "replicas": {"ready": 2, "busy": 1},
        "waiting": 3,
        "latency": {"count": 40, "p50_s": 0.4123, "p90_s": 1.5, "p99_s": 12},
        "errors": {"queue-full": 2, "model-500": 1},
        "cost": {"usd_per_hour_now": 1.6096, "usd_this_month": 42.5},
        "window_s": 900,
    }
    gateway.script += [httpx2.Response(200, json=found)] * 2
    head, row = holdfast("metrics", "echo").out.splitlines()
    assert head.split("  ")[0] == "NAME"
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == [
        "echo", "2", "1", "3", "0.412 s", "1.5 s", "12 s", "40", "1 model-500, 2 queue-full", "1.61", "42.50",
    ]  # fmt: skip
    told = json.loads(holdfast("metrics", "echo", "--json").out)
    assert told[0]["latency"]["count"] == 40


def test_metrics_of_all_endpoints_show_a_dash_where_nothing_is_known(holdfast: Run, gateway: Any) -> None:
    lines = holdfast("metrics").out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "count", "echo"]
    assert lines[1].split()[-2:] == ["-", "-"]
