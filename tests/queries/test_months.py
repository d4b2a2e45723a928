"""Shipped queries over two months, two clusters and a map of teams: every number is worked out from `months.py`."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.tables import HOURS, RUNS
from tests.queries import months
from tests.queries.months import FIRST, OCTOBER, SECOND

QUERIES = shipped_queries()
Row = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("months")
    months.fill(root)
    return root


def ask(root: Path, name: str, **given: str) -> list[Row]:
    answer: list[Row] = run_query(root, QUERIES[name], given).to_pylist()
    return answer


def by(found: list[Row], *names: str) -> dict[Any, Row]:
    keyed = {tuple(row[name] for name in names) if len(names) > 1 else row[names[0]]: row for row in found}
    assert len(keyed) == len(found)
    return keyed


def test_teams_answer_for_their_namespaces_as_they_were_then(root: Path) -> None:
    found = by(ask(root, "chargeback", price_per_kwh="0.2"), "month_utc", "team")
    october, november = date(2026, 10, 1), date(2026, 11, 1)
    grams = {key: row["emissions_gco2e"] for key, row in found.items()}
    assert grams == pytest.approx(
        {
            (october, "blue"): 600, (october, "platform"): 300,
            (november, "green"): 150 + 300 + 150 + 225, (november, "platform"): 225 + 37.5 + 225 + 112.5,
            (november, "(no team)"): 75 + 225,
        }
    )  # fmt: skip
    green = found[november, "green"]
    assert (green["energy_kwh"], green["unpriced_energy_kwh"]) == pytest.approx((1 + 2 + 1 + 0.5 + 1, 1))
    assert green["facility_energy_kwh"] == pytest.approx(4.5 * 1.5 + 1)
    assert green["cost"] == pytest.approx((4.5 * 1.5 + 1) * 0.2)
    assert green["scope"] == "scope 2, location-based, plus upstream (scope 3.3)"


def test_without_a_price_there_is_no_cost_and_a_span_is_half_open(root: Path) -> None:
    found = ask(root, "chargeback", start="2026-10-31", end="2026-11-01")
    assert [(row["team"], row["cost"]) for row in found] == [("blue", None), ("platform", None)]


def test_what_the_map_leaves_out_is_named(root: Path) -> None:
    found = by(ask(root, "namespaces_without_team"), "namespace")
    assert set(found) == {"(system)", "(unknown)"}
    unknown = found["(unknown)"]
    assert (unknown["energy_kwh"], unknown["emissions_gco2e"]) == pytest.approx((0.5, 225))
    assert (unknown["first_day_utc"], unknown["last_day_utc"]) == (FIRST.date(), SECOND.date())


def test_idle_energy_three_ways(root: Path) -> None:
    # First hour: 1.5 kWh of idling for web's 1 and train's 2 kWh, the GPU's 0.25 for train alone. Second: 0.5 for web's
    # two pods and the nameless one, and n2's 0.25 for nobody.
    found = by(ask(root, "idle_three_ways", start="2026-11-01"), "cluster", "namespace")
    kwh = {key: tuple(row[f"{way}_kwh"] for way in ("separate", "by_energy", "even")) for key, row in found.items()}
    assert set(kwh) == {
        ("prod-eu", "shop"), ("prod-eu", "ml"), ("prod-eu", "(system)"), ("prod-eu", "(idle)"),
        ("prod-eu", "(unknown)"), ("stage", "shop"),
    }  # fmt: skip
    assert kwh["prod-eu", "shop"] == pytest.approx((1.5, 1.5 + 0.5 + 0.25, 1.5 + 0.75 + 0.25))
    assert kwh["prod-eu", "ml"] == pytest.approx((3, 3 + 1 + 0.25, 3 + 0.75 + 0.25))
    assert kwh["prod-eu", "(unknown)"] == pytest.approx((0.5, 0.5 + 0.25, 0.5 + 0.25))
    assert kwh["prod-eu", "(idle)"] == pytest.approx((2.5, 0.25, 0.25))
    assert kwh["prod-eu", "(system)"] == pytest.approx((0.5, 0.5, 0.5))
    shop = found["prod-eu", "shop"]
    assert (shop["separate_gco2e"], shop["by_energy_gco2e"], shop["even_gco2e"]) == pytest.approx(
        (150 + 225, 375 + 75 + 112.5, 375 + 112.5 + 112.5)
    )
    assert found["stage", "shop"]["by_energy_gco2e"] is None


def test_top_movers_tell_energy_from_intensity_and_add_up(root: Path) -> None:
    found = by(ask(root, "top_movers", month="2026-11"), "cluster", "namespace")
    assert next(iter(found)) == ("prod-eu", "ml")  # +450 moved most
    shop, idle, ml = (found["prod-eu", name] for name in ("shop", "(idle)", "ml"))
    assert (shop["emissions_before_gco2e"], shop["emissions_gco2e"]) == pytest.approx((600, 375))
    # 3 kWh at 200 g became 2.25 kWh at 500 / 3 g
    assert shop["by_energy_gco2e"] == pytest.approx(-0.75 * (200 + 500 / 3) / 2)
    assert shop["by_intensity_gco2e"] == pytest.approx((500 / 3 - 200) * (3 + 2.25) / 2)
    assert (ml["emissions_before_gco2e"], ml["by_energy_gco2e"], ml["by_intensity_gco2e"]) == (None, 450, 0)
    assert idle["change_gco2e"] == pytest.approx(600 - 300)
    for row in found.values():
        assert row["by_energy_gco2e"] + row["by_intensity_gco2e"] == pytest.approx(row["change_gco2e"])
    assert ("stage", "shop") not in found  # without grams nothing moved
    assert (shop["days_before"], shop["days"]) == (1, 1)


def test_the_newest_month_that_has_ended_is_compared_unless_another_is_named(root: Path) -> None:
    assert {str(row["month_utc"]) for row in ask(root, "top_movers")} == {"2026-10-01"}
    assert len(ask(root, "top_movers", month="2026-11", most="1")) == 1


def test_idle_cost(root: Path) -> None:
    found = by(ask(root, "idle_cost", price_per_kwh="0.5"), "cluster", "month_utc")
    november = found["prod-eu", date(2026, 11, 1)]
    assert (november["idle_kwh"], november["idle_cost"]) == pytest.approx((2.5, 2.5 * 1.5 * 0.5))
    assert (november["idle_gco2e"], november["emissions_gco2e"]) == pytest.approx((600, 1725))
    assert november["idle_share"] == pytest.approx(2.5 / 8)
    stage = found["stage", date(2026, 11, 1)]
    assert (stage["idle_kwh"], stage["idle_cost"], stage["emissions_gco2e"]) == (0, None, None)


def test_grams_per_kwh_by_namespace(root: Path) -> None:
    found = by(ask(root, "grams_per_kwh_by_namespace", start="2026-11-01"), "cluster", "namespace")
    shop = found["prod-eu", "shop"]
    assert (shop["g_per_kwh"], shop["cluster_g_per_kwh"]) == pytest.approx((375 / 2.25, 1725 / 12))
    assert shop["ratio"] == pytest.approx((375 / 2.25) / (1725 / 12))
    assert (found["stage", "shop"]["g_per_kwh"], found["stage", "shop"]["facility_energy_kwh"]) == (None, None)


def test_node_efficiency(root: Path) -> None:
    first, second = (by(ask(root, "node_efficiency"), "cluster", "node")["prod-eu", node] for node in ("n1", "n2"))
    # package: 3 + 5 + 1.5 kWh... of 10.8, 18 and 5.4 MJ in 2.5 covered hours, and the GPU's 4.5 MJ in one
    assert first["mean_watts"] == pytest.approx((10.8e6 + 18e6 + 5.4e6) / (2.5 * 3600) + 4.5e6 / 3600)
    assert (first["covered_hours"], first["metered_kwh"]) == pytest.approx((2.5, (10.8 + 18 + 5.4 + 4.5) / 3.6))
    assert first["workload_share"] == pytest.approx((7.2 + 10.8 + 3.6 + 3.6) / 38.7)
    assert first["idle_share"] == pytest.approx((3.6 + 5.4 + 1.8 + 0.9) / 38.7)
    assert (second["workload_share"], second["idle_share"]) == (0, 1)


def test_greenest_hours(root: Path) -> None:
    found = ask(root, "greenest_hours", cluster="prod-eu")
    assert [(row["hour_of_day_utc"], row["mean_g_per_kwh"]) for row in found] == [(0, 100), (22, 200), (1, 300)]
    assert [row["ratio_to_all_hours"] for row in found] == pytest.approx([0.5, 1, 1.5])
    assert ask(root, "greenest_hours", cluster="stage") == []


def test_average_beside_marginal(root: Path) -> None:
    found = ask(root, "average_and_marginal", cluster="prod-eu", start="2026-11-01")
    assert [(row["hour_of_day_utc"], row["average_g_per_kwh"]) for row in found] == [(0, 100), (1, 300)]
    assert {row["marginal_g_per_kwh"] for row in found} == {None}


def test_the_pods_of_a_workload(root: Path) -> None:
    found = by(ask(root, "workload_pods", namespace="shop", workload="web"), "cluster", "pod_uid")
    assert set(found) == {("prod-eu", "uid-web"), ("prod-eu", "uid-0"), ("prod-eu", "uid-1"), ("stage", "uid-web")}
    first = found["prod-eu", "uid-web"]
    assert (first["first_hour_utc"], first["last_hour_utc"], first["hours"]) == (OCTOBER, FIRST, 2)
    assert (first["energy_kwh"], first["emissions_gco2e"], first["nodes"]) == (3, 750, "n1")
    assert found["prod-eu", "uid-1"]["emissions_gco2e"] == pytest.approx(112.5)
    assert len(ask(root, "workload_pods", most="2")) == 2
    assert "" in {row["pod"] or "" for row in ask(root, "workload_pods")}  # a row without a name is a row


def test_steady_burners(root: Path) -> None:
    (web,) = ask(root, "steady_burners")
    assert (web["exe"], web["hours"], web["present_ratio"]) == ("/bin/web", 2, 1)
    assert (web["mean_watts"], web["least_of_mean"], web["energy_kwh"]) == pytest.approx((750, 500 / 750, 1.5))
    both = by(ask(root, "steady_burners", present="0.5"), "exe")
    assert both["/bin/cron"]["mean_watts"] == pytest.approx(1)


def test_gpu_share(root: Path) -> None:
    found = by(ask(root, "gpu_share", start="2026-11-01"), "cluster", "namespace")
    ml, idle, shop = (found["prod-eu", name] for name in ("ml", "(idle)", "shop"))
    assert (ml["gpu_kwh"], ml["gpu_share"], ml["gpu_gco2e"]) == pytest.approx((1, 1 / 3, 150))
    assert (idle["gpu_kwh"], idle["gpu_gco2e"]) == pytest.approx((0.25, 37.5))
    assert (shop["gpu_kwh"], shop["gpu_share"], shop["gpu_gco2e"]) == (0, 0, None)


def test_grams_per_unit(root: Path) -> None:
    served = {"namespace": "ml", "units": "9000", "start": "2026-11-01"}
    (row,) = ask(root, "grams_per_unit", **served)
    assert (row["operational_gco2e"], row["energy_kwh"]) == pytest.approx((450, 3))
    assert row["operational_gco2e_per_unit"] == pytest.approx(0.05)
    assert row["sci_gco2e_per_unit"] is None
    (whole,) = ask(root, "grams_per_unit", **served, embodied_gco2e="45")
    assert whole["sci_gco2e_per_unit"] == pytest.approx(0.055)
    (uncounted,) = ask(root, "grams_per_unit", namespace="ml")
    assert (uncounted["operational_gco2e"], uncounted["operational_gco2e_per_unit"]) == (pytest.approx(450), None)


def test_budget_state(root: Path) -> None:
    prod, stage = ask(root, "budget_state", budget_kg="10")
    assert (prod["month_utc"], prod["emissions_gco2e"]) == (date(2026, 11, 1), pytest.approx(1725))
    assert (prod["known_share"], prod["used_share"]) == pytest.approx((2 / 720, 0.1725))
    assert prod["month_at_this_pace_gco2e"] == pytest.approx(1725 * 360)
    assert (stage["emissions_gco2e"], stage["used_share"], stage["unpriced_energy_kwh"]) == (None, None, 1)
    (october,) = ask(root, "budget_state", month="2026-10", cluster="prod-eu")
    assert (october["emissions_gco2e"], october["known_share"]) == pytest.approx((900, 1 / 744))
    assert (october["budget_gco2e"], october["used_share"]) == (None, None)


def test_grams_by_owner_kind(root: Path) -> None:
    found = by(ask(root, "grams_by_owner_kind", start="2026-11-01"), "cluster", "owner_kind")
    grams = {key[1]: row["emissions_gco2e"] for key, row in found.items() if key[0] == "prod-eu"}
    assert grams == pytest.approx({"Job": 450, "Deployment": 375, "(unknown)": 225, "(system)": 75, "(idle)": 600})
    assert found["prod-eu", "Job"]["energy_share"] == pytest.approx(3 / 8)
    assert (found["prod-eu", "Job"]["workloads"], found["prod-eu", "(idle)"]["workloads"]) == (1, 0)


def test_coverage_by_day(root: Path) -> None:
    found = by(ask(root, "coverage_by_day", start="2026-11-01"), "cluster", "day_utc")
    day = found["prod-eu", FIRST.date()]
    assert (day["complete_hours"], day["partial_hours"], day["empty_hours"], day["failed_hours"]) == (1, 1, 0, 0)
    assert day["covered_share"] == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert (day["holes"], day["silent_node_hours"]) == (1, 0)
    assert found["stage", FIRST.date()]["covered_share"] == 1


def test_what_was_withheld(root: Path) -> None:
    (row,) = ask(root, "withheld")
    assert (row["node"], row["check"], row["hours"], row["withheld_joules"]) == ("n1", "ceiling", 1, 5e9)
    assert row["evidence"] == "5000000000.0 J"
    assert ask(root, "withheld", end="2026-11-01") == []


def test_the_scope_of_a_question_is_its_parameters(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"no parameter 'stat': did you mean 'start'"):
        ask(root, "chargeback", stat="2026-11-01")
    with pytest.raises(ConfigError, match=r"start '1.11.' is not a day: write 2026-11-01"):
        ask(root, "chargeback", start="1.11.")
    with pytest.raises(ConfigError, match=r"month 'Nov' is not a month: write 2026-11"):
        ask(root, "top_movers", month="Nov")
    with pytest.raises(ConfigError, match=r"units 'nan' is not a number"):
        ask(root, "grams_per_unit", units="nan")


def test_hours_that_a_store_does_not_show_and_runs(root: Path, tmp_path: Path) -> None:
    warehouse = months.fill(tmp_path)
    told = {"cluster": "prod-eu", "store": "vm", "revision": 0, "written_utc": months.STAMP.priced_utc}
    states = [(OCTOBER, "yes", None), (FIRST, "no", "due 2026-11-03T01:00Z"), (SECOND, "beyond_horizon", None)]
    lines = [told | {"hour_utc": hour, "state": state, "reason": reason} for hour, state, reason in states]
    warehouse.append("hours", pa.Table.from_pylist(lines, HOURS), "run-1", FIRST.date())
    ended = {"run_id": "run-1", "command": "run", "started_utc": FIRST, "finished_utc": SECOND, "exit_code": 65}
    warehouse.append("runs", pa.Table.from_pylist([ended], RUNS), "run-1", FIRST.date())
    found = ask(tmp_path, "unpublished")
    assert [(row["hour_utc"], row["state"]) for row in found] == [(FIRST, "no"), (SECOND, "beyond_horizon")]
    assert found[0]["reason"] == "due 2026-11-03T01:00Z"
    assert ask(tmp_path, "unpublished", end="2026-11-01") == []
    (run,) = ask(tmp_path, "recent_runs")
    assert (run["run_id"], run["seconds"], run["exit_code"]) == ("run-1", 3600, 65)
    assert ask(root, "recent_runs") == []
