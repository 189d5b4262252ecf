"""The arithmetic of plans, and the price table it rests on."""

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fruits_pipeline.emr import plan
from fruits_pipeline.emr.prices import HOURS_PER_MONTH, cluster_hourly, money, size_factor
from fruits_pipeline.errors import InputError
from fruits_pipeline.listing import File
from fruits_pipeline.s3 import EU_REGIONS

IMAGES = st.integers(0, 50_000_000)
RATES = st.floats(1, 2000)


def file(name, length=10, hidden=False):
    return File(f"file:/x/{name}", length, datetime(2026, 1, 1, tzinfo=UTC), hidden)


# ---- prices ----------------------------------------------------------------------------------------------------------


def test_a_node_costs_machine_surcharge_and_disk(prices):
    family = prices.families["c7i"]
    expected = 2 * (family.on_demand["eu-west-3"] + family.emr) + 100 * prices.ebs_gb_month / HOURS_PER_MONTH
    assert prices.hourly("c7i.2xlarge", "eu-west-3", False, 100) == pytest.approx(expected)
    assert prices.hourly("c7i.2xlarge", "eu-west-3", True, 100) == pytest.approx(
        expected - 2 * (family.on_demand["eu-west-3"] - family.spot["eu-west-3"])
    )


@pytest.mark.parametrize(("size", "factor"), [("large", 0.5), ("xlarge", 1), ("2xlarge", 2), ("24xlarge", 24)])
def test_sizes(size, factor):
    assert size_factor(f"c7i.{size}") == factor


@pytest.mark.parametrize("instance", ["c7i.metal", "x9.xlarge", "c7i", "c7i.medium"])
def test_unknown_instances_are_named(prices, instance):
    with pytest.raises(InputError, match=instance):
        prices.hourly(instance, "eu-west-3", False, 10)


def test_a_region_without_a_price_is_named_with_those_that_have_one(prices):
    with pytest.raises(InputError, match=r"c7i\.xlarge in eu-south-1.*eu-west-3"):
        prices.hourly("c7i.xlarge", "eu-south-1", False, 10)


def test_the_table_is_plausible(prices):
    """Guards against slipped digits: Spot is cheaper, a surcharge is a share, more memory costs more."""
    for name, family in prices.families.items():
        assert set(family.spot) == set(family.on_demand) <= set(EU_REGIONS), name
        for region, price in family.on_demand.items():
            assert 0.09 * price <= family.spot[region] < price < 0.3
            assert 0.1 < family.emr / price < 0.3
    assert all(
        prices.families["m7i"].on_demand[region] > price for region, price in prices.families["c7i"].on_demand.items()
    )
    assert 0.5 < prices.eur_per_usd < 1.5


def test_every_figure_comes_with_its_date_and_a_warning(prices):
    assert str(prices.noted) in prices.note
    assert "by hand" in prices.note
    assert "nobody has compared" in prices.note
    assert "nobody has compared" not in prices.model_copy(update={"checked": True}).note


def test_a_cluster_costs_its_primary_too(settings, prices):
    one = prices.hourly("c7i.xlarge", "eu-west-3", False, 64)
    spot = prices.hourly("c7i.xlarge", "eu-west-3", True, 64)
    primary = prices.hourly("m7i.xlarge", "eu-west-3", False, 64)
    assert cluster_hourly(settings, prices, 3, False) == pytest.approx(primary + 3 * one)
    assert cluster_hourly(settings, prices, 3, True) == pytest.approx(primary + one + 2 * spot)


@pytest.mark.parametrize(
    ("usd", "text"), [(0, "0.00 EUR"), (0.001, "< 0.01 EUR"), (1, "0.90 EUR"), (2000, "1,800 EUR")]
)
def test_money(prices, usd, text):
    assert money(usd, prices) == text


# ---- counting --------------------------------------------------------------------------------------------------------


def test_counting_takes_images_only():
    pages = [[file("a.JPG", 5), file("b.txt"), file(".c.jpg", hidden=True)], [file("d.png", 7), file("jpg")]]
    assert plan.count_images(iter(pages), ["jpg", "png"]) == plan.Workload(images=2, size=12, others=3)


# ---- time and cost ---------------------------------------------------------------------------------------------------


def test_an_estimate_by_hand(settings, prices):
    """3 nodes · 4 vCPU · 100 images/s · 0.6 · 0.75 = 540 images/s; 324,000 images are 10 minutes, and 15 are fixed."""
    found = plan.estimate(324_000, 100, 3, settings, prices)
    assert found.images_per_second == pytest.approx(540)
    assert found.image_minutes == pytest.approx(10)
    assert found.minutes == pytest.approx(25)
    assert found.on_demand == pytest.approx(25 / 60 * cluster_hourly(settings, prices, 3, False))
    assert found.spot == pytest.approx(25 / 60 * cluster_hourly(settings, prices, 3, True))


@given(IMAGES, RATES, st.integers(2, 60))
def test_more_nodes_are_never_slower_and_spot_never_dearer(settings, prices, images, rate, nodes):
    few, many = (plan.estimate(images, rate, count, settings, prices) for count in (nodes, nodes + 1))
    assert many.minutes <= few.minutes
    assert few.spot < few.on_demand


@given(IMAGES, RATES, st.integers(16, 2000))
def test_the_nodes_chosen_are_enough_and_one_less_is_not(settings, prices, images, rate, minutes):
    try:
        nodes = plan.nodes_within(images, rate, minutes, settings, prices)
    except InputError:
        most = plan.estimate(images, rate, settings.cluster.max_nodes, settings, prices)
        assert most.minutes > minutes
        return
    assert plan.fewest_nodes(settings) <= nodes <= settings.cluster.max_nodes
    assert plan.estimate(images, rate, nodes, settings, prices).minutes <= minutes * (1 + 1e-9)
    if nodes > plan.fewest_nodes(settings):
        assert plan.estimate(images, rate, nodes - 1, settings, prices).minutes > minutes * (1 - 1e-9)


@pytest.mark.parametrize("minutes", [1, 15])
def test_less_than_the_fixed_time_is_refused(settings, prices, minutes):
    with pytest.raises(InputError, match=r"within .* minutes: 10 nodes"):
        plan.nodes_within(1000, 100, minutes, settings, prices)


def test_serverless_is_paid_by_the_vcpu_hour(settings, prices):
    price = prices.serverless["eu-west-3"]
    million = plan.serverless_usd(1_000_000, 100, settings, prices)
    hours = 1_000_000 / (100 * 0.6 * 0.75) / 3600 + 5 / 60 * 4
    assert million == pytest.approx(hours * (price.vcpu + 4 * price.memory_gb))
    milan = settings.model_copy(update={"region": "eu-south-1"})
    assert plan.serverless_usd(1, 100, milan, prices) is None


@given(st.floats(0, 1000), st.floats(0, 1000))
def test_the_limit_holds_for_the_price_without_spot(settings, prices, usd, limit):
    assume(abs(usd * prices.eur_per_usd - limit) > 1e-6)
    found = plan.Estimate(1, 3, 1, 1, 1, on_demand=usd, spot=0)
    if usd * prices.eur_per_usd < limit:
        plan.check_cost(found, limit, prices)
    else:
        with pytest.raises(InputError, match="Too expensive"):
            plan.check_cost(found, limit, prices)


def test_no_limit_refuses_nothing(settings, prices):
    plan.check_cost(plan.estimate(10**9, 1, 3, settings, prices), None, prices)


def test_the_report_has_all_figures(settings, prices):
    found = plan.estimate(1_000_000, 100, 3, settings, prices)
    text = "\n".join(plan.describe(found, plan.Workload(1_000_000, 5_000_000_000, 12), 100, settings, prices))
    million = money(found.on_demand, prices)
    for words in ("1,000,000 (5.0 GB)", "12 other", "1 core + 2 task nodes c7i.xlarge", "46 min", "Paris"):
        assert words in text
    assert text.count(million) == 2  # this run is the million
    assert money(found.spot, prices) in text
    assert money(1000 * prices.s3_put_1000, prices) in text
    assert prices.note in text


def test_regions_without_serverless_prices_have_no_line(settings, prices):
    spain = settings.model_copy(update={"region": "eu-south-2"})
    found = plan.estimate(1000, 100, 3, spain, prices)
    assert "Serverless" not in "\n".join(plan.describe(found, plan.Workload(1000, 1), 100, spain, prices))


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB")])
def test_sizes_are_readable(size, text):
    assert plan.size_text(size) == text
