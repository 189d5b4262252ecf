"""Settings: the committed file, what overrides it, and what is refused."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruits_pipeline.emr.settings import EmrSettings, load_settings, read_conf
from fruits_pipeline.errors import InputError
from fruits_pipeline.s3 import EU_REGIONS

CONF = Path(__file__).resolve().parents[2] / "conf"


def load(**options) -> EmrSettings:
    return load_settings(CONF, "cloud", options)


def test_the_committed_file_is_complete_and_names_no_bucket():
    settings = load()
    assert settings.bucket is None
    assert settings.region in EU_REGIONS
    assert settings.cluster.node_type == "c7i.xlarge"
    assert settings.cluster.nodes == 3


def test_options_override_the_environment_overrides_the_file(monkeypatch):
    monkeypatch.setenv("FRUITS_BUCKET", "from-environment")
    monkeypatch.setenv("FRUITS_PREFIX", "team/photos")
    assert (load().bucket, load().prefix) == ("from-environment", "team/photos")
    assert load(prefix="mine").prefix == "mine"
    assert load(bucket="from-option", task_nodes=5, region=None).bucket == "from-option"
    assert load(task_nodes=5, node_size="4xlarge").cluster.model_dump(include={"task_nodes", "node_size"}) == {
        "task_nodes": 5,
        "node_size": "4xlarge",
    }


@pytest.mark.parametrize("region", ["eu-west-2", "eu-central-2", "us-east-1", "eu-west-9", "", "EU-WEST-3"])
def test_regions_outside_the_eu_are_refused_with_those_inside(region):
    with pytest.raises(InputError) as refused:
        load(region=region)
    assert "European Union" in str(refused.value)
    assert "eu-central-1" in str(refused.value)


@pytest.mark.parametrize("region", EU_REGIONS)
def test_all_regions_of_the_eu_are_taken(region):
    assert load(region=region).region == region


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"bucket": "Big.Bucket"}, ["bucket"]),
        ({"prefix": "a b"}, ["prefix"]),
        ({"prefix": ""}, ["prefix"]),
        ({"task_nodes": 0}, ["cluster.task_nodes"]),
        ({"max_nodes": 2}, ["max_nodes (2)"]),
        ({"node_size": "metal", "idle_minutes": 0}, ["cluster.node_size", "cluster.idle_minutes"]),
        ({"budget_usd": -1, "name": "1x"}, ["budget_usd", "name"]),
        ({"misspelt": 1}, ["misspelt"]),
    ],
)
def test_what_is_out_of_range_is_named_with_its_value(options, names):
    with pytest.raises(InputError) as refused:
        load(**options)
    for name in names:
        assert name in str(refused.value)
    assert "emr.yml" in str(refused.value)
    assert "pydantic" not in str(refused.value)


@pytest.mark.parametrize("given", ["s3://my-bucket", "my-bucket", "s3://my-bucket/"])
def test_a_bucket_may_be_written_as_a_uri(given):
    assert load(bucket=given).bucket == "my-bucket"


def test_places_in_the_bucket():
    settings = load(bucket="b-b", prefix="/team/fruits/")
    assert settings.uri("01_raw") == "s3://b-b/team/fruits/01_raw"
    assert settings.key("artifacts", "x.whl") == "team/fruits/artifacts/x.whl"
    assert settings.key("") == "team/fruits/"


def test_stacks_of_two_clusters_share_the_bucket_and_the_budget():
    one, two = load(), load(name="other")
    assert [one.stack("cluster"), two.stack("cluster")] == ["fruits-cluster", "other-cluster"]
    assert one.stack("storage") == two.stack("storage") == "fruits-storage"
    assert one.stack("budget") == two.stack("budget") == "fruits-budget"


def test_without_a_bucket_the_message_says_three_ways_to_name_one():
    with pytest.raises(InputError, match=r"FRUITS_BUCKET.*--bucket.*emr\.yml"):
        _ = load().the_bucket


def test_a_missing_file_names_the_cure(tmp_path):
    with pytest.raises(InputError, match=r"no .*cloud/emr\.yml.*--conf-source"):
        load_settings(tmp_path, "cloud", {})


def test_a_broken_file_says_where(tmp_path):
    (tmp_path / "cloud").mkdir()
    (tmp_path / "base").mkdir()
    (tmp_path / "cloud" / "emr.yml").write_text("name: [")
    with pytest.raises(InputError, match=r"cloud/emr\.yml cannot be read"):
        load_settings(tmp_path, "cloud", {})


def test_other_configuration_is_read_with_its_globals():
    assert read_conf(CONF, "cloud", "parameters")["encoder"]["name"] == "MobileNetV2"
    assert "spark.app.name" in read_conf(CONF, "cloud", "spark")


BASE = load().model_dump()


@given(st.text(max_size=70))
def test_a_bucket_that_is_taken_is_a_name_that_s3_takes(name):
    """docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, without dots."""
    try:
        bucket = EmrSettings.model_validate({**BASE, "bucket": name}).bucket
    except ValueError:
        return
    assert re.fullmatch(r"[a-z0-9-]{3,63}", bucket)
    assert bucket[0] != "-" != bucket[-1]
