"""What is left, and what that costs."""

import pytest

from fruits_pipeline.emr import leftovers
from fruits_pipeline.emr.leftovers import Stored

from .conftest import BUCKET, client
from .conftest import bucket as make_bucket


@pytest.mark.usefixtures("cloud")
class TestInMoto:
    def test_clusters_that_live_are_listed_and_ended_ones_are_not(self):
        emr = client("emr")
        ids = [
            emr.run_job_flow(
                Name=name,
                ReleaseLabel="emr-7.0.0",
                Instances={"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": True},
                JobFlowRole="a",
                ServiceRole="b",
            )["JobFlowId"]
            for name in ("living", "ended")
        ]
        emr.terminate_job_flows(JobFlowIds=ids[1:])
        assert [(found.id, found.name) for found in leftovers.active_clusters(emr)] == [(ids[0], "living")]

    def test_serverless_applications_are_listed(self):
        serverless = client("emr-serverless")
        assert leftovers.applications(serverless) == []
        made = serverless.create_application(name="fruits", releaseLabel="emr-6.6.0", type="SPARK")["applicationId"]
        assert [(found.id, found.name) for found in leftovers.applications(serverless)] == [(made, "fruits")]
        serverless.stop_application(applicationId=made)
        serverless.delete_application(applicationId=made)
        assert leftovers.applications(serverless) == []

    def test_a_bucket_is_counted(self):
        s3 = make_bucket()
        assert leftovers.stored(s3, BUCKET) == Stored(0, 0, False)
        for i in range(3):
            s3.put_object(Bucket=BUCKET, Key=str(i), Body=b"x" * 10)
        assert leftovers.stored(s3, BUCKET) == Stored(3, 30, False)
        assert leftovers.stored(s3, "no-such-bucket") is None

    def test_counting_stops_and_says_so(self, monkeypatch):
        s3 = make_bucket()
        monkeypatch.setattr(leftovers, "PAGES", 1)
        monkeypatch.setattr(leftovers, "KEYS_PER_PAGE", 2)
        for i in range(3):
            s3.put_object(Bucket=BUCKET, Key=str(i), Body=b"x")
        assert leftovers.stored(s3, BUCKET) == Stored(2, 2, True)

    def test_a_bucket_is_emptied_of_all_versions_markers_and_unfinished_uploads(self):
        s3 = make_bucket()
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        for body in (b"old", b"new"):
            s3.put_object(Bucket=BUCKET, Key="Poire d'été/1.jpg", Body=body)
        s3.delete_object(Bucket=BUCKET, Key="Poire d'été/1.jpg")
        s3.create_multipart_upload(Bucket=BUCKET, Key="unfinished")
        counts = []
        assert leftovers.empty_bucket(s3, BUCKET, counts.append) == 3
        assert counts == [3]
        s3.delete_bucket(Bucket=BUCKET)  # S3 refuses to delete a bucket with anything in it
        assert leftovers.stored(s3, BUCKET) is None


def test_objects_that_s3_will_not_delete_are_named(stubbed):
    version = {"Key": "locked", "VersionId": "1"}
    s3 = stubbed(
        "s3",
        ("list_multipart_uploads", {}),
        ("list_object_versions", {"Versions": [version], "DeleteMarkers": []}),
        ("delete_objects", {"Errors": [{"Key": "locked", "Message": "Object Lock"}]}),
    )
    with pytest.raises(leftovers.InputError, match=r"locked: Object Lock"):
        leftovers.empty_bucket(s3, BUCKET, lambda done: None)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Stored(2, 10**12, False), "2 objects, 1.0 TB, about 21.60 EUR a month"),
        (Stored(100_000, 10, True), "at least 100,000 objects"),
        (None, "does not exist"),
    ],
)
def test_the_bucket_in_a_line(prices, found, words):
    assert words in leftovers.describe_stored("b", found, prices)
