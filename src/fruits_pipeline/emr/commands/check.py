"""`kedro emr check`."""

from __future__ import annotations

from typing import Final

from fruits_pipeline.emr import artifacts as files
from fruits_pipeline.emr import checks, speed
from fruits_pipeline.emr.aws import say, show_call
from fruits_pipeline.emr.commands.setup import Setup
from fruits_pipeline.parameters import EncoderParameters

_CHECK_CALLS: Final = (
    ("sts", "get_caller_identity"),
    ("service-quotas", "get_service_quota"),
    ("s3", "head_bucket"),
    ("s3", "get_public_access_block"),
    ("s3", "get_bucket_encryption"),
    ("s3", "put_object, list_objects_v2, get_object, delete_object"),
)


def check(setup: Setup, params: str) -> bool:
    """Looks at everything; whether nothing failed."""
    if setup.dry_run:
        for service, operations in _CHECK_CALLS:
            show_call(service, operations, {"Bucket": setup.settings.the_bucket} if service == "s3" else {})
        return True
    outcomes = checks.run_checks(_check_groups(setup, params), lambda found: say(str(found)))
    wrong = sum(found.state is checks.State.FAILED for found in outcomes)
    say(f"{wrong} to mend" if wrong else "All that can be seen from here is as it must be.")
    return not wrong


def _check_groups(setup: Setup, params: str) -> list[list[tuple[str, checks.Finding]]]:
    settings, project = setup.settings, setup.project
    s3 = setup.client("s3")

    def wanted() -> EncoderParameters:
        return speed.read_parameters(EncoderParameters, "encoder", setup.conf_source, setup.env, params)

    return [
        [("region", lambda: checks.check_region(settings)), ("Python", lambda: checks.check_python(settings))],
        [
            ("credentials", lambda: checks.check_credentials(setup.client("sts"))),
            ("quotas", lambda: checks.check_quota(setup.client("service-quotas"), settings, setup.prices)),
        ],
        [
            ("bucket", lambda: checks.check_bucket(s3, settings)),
            ("public access", lambda: checks.check_public_access(s3, settings)),
            ("encryption", lambda: checks.check_encryption(s3, settings)),
            ("S3 from Python (boto3, s3fs, obstore)", lambda: checks.check_python_s3(s3, settings)),
            ("S3 from Spark (S3A)", lambda: checks.check_spark_s3(settings)),
            (
                "artifacts",
                lambda: checks.check_artifacts(s3, settings, lambda: files.find_artifacts(settings, project)),
            ),
            ("encoder", lambda: checks.check_encoder(s3, settings, wanted())),
        ],
    ]
