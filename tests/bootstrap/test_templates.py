"""What the templates promise, asserted on what they would make. Each check is shown templates that break a promise."""

import fnmatch
import json
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint_file

from fruits_pipeline.lock import NAME as LOCK

from .cloudformation import GONE, Template, change, load, made, refused

BOOTSTRAP = Path(__file__).resolve().parents[2] / "bootstrap"
TEMPLATES = {path.stem: load(path) for path in sorted(BOOTSTRAP.glob("*.yaml"))}

# Amazon's regions in member states. London (eu-west-2) and Zürich (eu-central-2) are not.
EU_REGIONS = ["eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3"]
ELSEWHERE = ["eu-west-2", "eu-central-2", "us-east-1", "ap-south-1", "cn-north-1"]
BUDGET_REGIONS = ["eu-central-1", "eu-west-1", "eu-west-3"]
EMR_TAG = {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}

Check = Callable[[Template], None]


# ---- Looking into what is made ---------------------------------------------------------------------------------------


def properties(stack: Template, kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a kind, by name."""
    found = {
        name: item.get("Properties", {}) for name, item in stack["Resources"].items() if item["Type"] == f"AWS::{kind}"
    }
    assert found, f"there is no AWS::{kind}"
    return found


def only(stack: Template, kind: str) -> dict[str, Any]:
    (found,) = properties(stack, kind).values()
    return found


def variants(template: Template) -> Iterator[Template]:
    """What the template makes with its defaults and with each choice that adds permissions or openings."""
    choices: list[dict[str, Any]] = [
        {},
        {"Encryption": "SSE-KMS"},
        {"PrivateSubnets": "yes", "ReleaseLabel": "emr-7.14.0"},
        {"SubnetIds": "subnet-1", "VpcId": "vpc-1", "BucketKeyArn": "arn:aws:kms:key"},
    ]
    for choice in choices:
        if choice.keys() <= template["Parameters"].keys():
            yield made(template, **choice)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(stack: Template) -> list[dict[str, Any]]:
    """What roles and managed policies allow: not who may take a role, nor what buckets and keys say of themselves."""
    documents = []
    for item in stack["Resources"].values():
        if item["Type"] == "AWS::IAM::ManagedPolicy":
            documents.append(item["Properties"]["PolicyDocument"])
        if item["Type"] == "AWS::IAM::Role":
            documents += [policy["PolicyDocument"] for policy in item["Properties"].get("Policies", [])]
    return [
        statement for document in documents for statement in document["Statement"] if statement["Effect"] == "Allow"
    ]


def configuration(stack: Template, name: str) -> dict[str, str]:
    """The properties of an EMR configuration classification; empty if there is none."""
    found = [item for item in only(stack, "EMR::Cluster")["Configurations"] if item["Classification"] == name]
    return found[0]["ConfigurationProperties"] if found else {}


def fleets(stack: Template) -> dict[str, dict[str, Any]]:
    instances = only(stack, "EMR::Cluster")["Instances"]
    (task,) = instances["TaskInstanceFleets"]
    return {"primary": instances["MasterInstanceFleet"], "core": instances["CoreInstanceFleet"], "task": task}


def types(fleet: dict[str, Any]) -> list[str]:
    return [item["InstanceType"] for item in fleet["InstanceTypeConfigs"]]


# ---- Everywhere ------------------------------------------------------------------------------------------------------


def is_in_the_eu(template: Template) -> None:
    accepted = BUDGET_REGIONS if "BudgetEmail" in template["Parameters"] else EU_REGIONS
    assert [region for region in EU_REGIONS + ELSEWHERE if not refused(template, region)] == accepted
    assert all("eu-central-1" in message for message in refused(template, "us-east-1")), "it must say where to go"


def allows_no_wildcard_actions(template: Template) -> None:
    for stack in variants(template):
        for statement in allowed(stack):
            assert "NotAction" not in statement
            assert not [action for action in listed(statement["Action"]) if "*" in action], statement


def allows_no_wildcard_resources(template: Template) -> None:
    unscoped = {"ssm:UpdateInstanceInformation"}  # and all of ssmmessages: they know no resources
    for stack in variants(template):
        for statement in allowed(stack):
            assert "NotResource" not in statement
            if "*" in listed(statement["Resource"]):
                others = {action for action in statement["Action"] if not action.startswith("ssmmessages:")}
                assert others <= unscoped, statement


def keeps_s3_to_the_bucket(template: Template) -> None:
    for stack in variants(template):
        for statement in allowed(stack):
            if any(action.startswith("s3:") for action in listed(statement["Action"])):
                for resource in listed(statement["Resource"]):
                    assert resource.startswith(("Bucket.Arn", "arn:aws:s3:::<BucketName>/jupyter/")), resource


def attaches_no_broad_policies(template: Template) -> None:
    fine = {"arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2", "<DataAccessPolicyArn>"}
    for stack in variants(template):
        for role in properties(stack, "IAM::Role").values():
            assert set(role.get("ManagedPolicyArns", [])) <= fine


def trusts_services_only(template: Template) -> None:
    services = {"elasticmapreduce.amazonaws.com", "ec2.amazonaws.com", "emr-serverless.amazonaws.com"}
    for role in properties(made(template), "IAM::Role").values():
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            assert statement["Action"] == "sts:AssumeRole"
            assert set(statement["Principal"]) == {"Service"}
            assert statement["Principal"]["Service"] in services
            if statement["Principal"]["Service"] != "ec2.amazonaws.com":  # the confused deputy: EMR for somebody else
                assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == "123456789012"


def opens_keys_to_the_account_only(template: Template) -> None:
    for stack in variants(template):
        for key in [item["Properties"] for item in stack["Resources"].values() if item["Type"] == "AWS::KMS::Key"]:
            assert key["EnableKeyRotation"] is True
            for statement in key["KeyPolicy"]["Statement"]:
                if statement["Principal"]["AWS"] == "arn:aws:iam::123456789012:root":
                    continue
                equals = statement["Condition"]["StringEquals"]
                assert equals == {"kms:CallerAccount": "123456789012", "kms:ViaService": "ec2.eu-west-3.amazonaws.com"}
                assert not [action for action in statement["Action"] if "*" in action]


# ---- storage.yaml ----------------------------------------------------------------------------------------------------


def encrypts_the_bucket(template: Template) -> None:
    for choice, expected in {
        "SSE-S3": {"SSEAlgorithm": "AES256"},
        "SSE-KMS": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "BucketKey.Arn"},
    }.items():
        bucket = only(made(template, Encryption=choice), "S3::Bucket")
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == expected
    uses = [item for item in allowed(made(template, Encryption="SSE-KMS")) if item["Resource"] == "BucketKey.Arn"]
    assert [set(use["Action"]) for use in uses] == [{"kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"}]


def keeps_versions(template: Template) -> None:
    assert only(made(template), "S3::Bucket")["VersioningConfiguration"] == {"Status": "Enabled"}


def blocks_public_access(template: Template) -> None:
    block = only(made(template), "S3::Bucket")["PublicAccessBlockConfiguration"]
    assert block == dict.fromkeys(
        ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"], True
    )


def has_no_access_lists(template: Template) -> None:
    (rule,) = only(made(template), "S3::Bucket")["OwnershipControls"]["Rules"]
    assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}


def demands_tls(template: Template) -> None:
    policy = only(made(template), "S3::BucketPolicy")
    assert policy["Bucket"] == "Bucket"
    statements = policy["PolicyDocument"]["Statement"]
    conditions = [item["Condition"] for item in statements]
    assert conditions == [{"Bool": {"aws:SecureTransport": "false"}}, {"NumericLessThan": {"s3:TlsVersion": "1.2"}}]
    for statement in statements:
        assert {key: statement[key] for key in ("Effect", "Principal", "Action", "Resource")} == {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": ["Bucket.Arn", "Bucket.Arn/*"],
        }


def rules_of(template: Template, **parameters: Any) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = only(made(template, **parameters), "S3::Bucket")["LifecycleConfiguration"]["Rules"]
    return [rule for rule in rules if rule["Status"] == "Enabled"]


def ends_abandoned_uploads(template: Template) -> None:
    (rule,) = [rule for rule in rules_of(template) if "AbortIncompleteMultipartUpload" in rule]
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] <= 7
    assert "Prefix" not in rule


def expires_logs(template: Template) -> None:
    (rule,) = [rule for rule in rules_of(template, LogDays=14) if "ExpirationInDays" in rule]
    assert (rule["Prefix"], rule["ExpirationInDays"]) == ("fruits/logs/", 14), "logs, and nothing but logs"


def forgets_old_versions(template: Template) -> None:
    (rule,) = [rule for rule in rules_of(template, NoncurrentDays=9) if "NoncurrentVersionExpiration" in rule]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 9}
    assert "Prefix" not in rule


def expires_photographs_when_asked(template: Template) -> None:
    days = {rule.get("Prefix"): rule.get("ExpirationInDays") for rule in rules_of(template, RawDays=90)}
    assert days["fruits/01_raw/"] == 90
    assert "fruits/01_raw/" not in {rule.get("Prefix") for rule in rules_of(template)}, "kept unless asked"


def keeps_the_bucket(template: Template) -> None:
    for stack in variants(template):
        for item in stack["Resources"].values():
            if item["Type"] in ("AWS::S3::Bucket", "AWS::KMS::Key"):
                assert item["DeletionPolicy"] == "RetainExceptOnCreate"
                assert item["UpdateReplacePolicy"] == "Retain"


def may(stack: Template, action: str, key: str) -> bool:
    resource = f"Bucket.Arn/{key}"
    return any(
        action in listed(statement["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
        for statement in allowed(stack)
    )


def leaves_photographs_alone(template: Template) -> None:
    stack = made(template)
    for folder in ("01_raw/Apple/1.jpg", "artifacts/bootstrap-emr.sh", "anything"):
        assert may(stack, "s3:GetObject", f"fruits/{folder}")
        assert not may(stack, "s3:PutObject", f"fruits/{folder}"), folder
        assert not may(stack, "s3:DeleteObject", f"fruits/{folder}"), folder
    assert not may(stack, "s3:GetObject", "elsewhere/1.jpg")


def lets_jobs_write_their_layers(template: Template) -> None:
    stack = made(template)
    layers = sorted(folder.name for folder in (BOOTSTRAP.parent / "data").iterdir() if folder.is_dir())
    for layer in layers[1:]:
        for action in ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"):
            assert may(stack, action, f"fruits/{layer}/table/part-0.parquet"), layer
    catalog = (BOOTSTRAP.parent / "conf" / "base" / "catalog.yml").read_text(encoding="utf-8")
    written = re.findall(r"filepath: \$\{_output\}/(\S+)", catalog)
    assert len(written) > 10
    for path in [*written, LOCK]:
        assert may(stack, "s3:PutObject", f"fruits/{path}"), path
        assert may(stack, "s3:DeleteObject", f"fruits/{path}"), path
    assert may(stack, "s3:PutObject", "fruits/logs/emr/j-1/steps/s-1/stderr.gz")
    assert may(stack, "s3:DeleteObject", "fruits/logs/spark-events/app.inprogress")
    assert may(stack, "s3:GetObject", "fruits"), "S3A asks whether a folder's name is an object"


# ---- budget.yaml -----------------------------------------------------------------------------------------------------


def warns_of_costs(template: Template) -> None:
    budget = only(made(template, BudgetAmount=70, BudgetEmail="me@example.org"), "Budgets::Budget")
    assert budget["Budget"] == {
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": 70, "Unit": "USD"},
    }
    thresholds = set()
    for item in budget["NotificationsWithSubscribers"]:
        assert item["Subscribers"] == [{"SubscriptionType": "EMAIL", "Address": "me@example.org"}]
        assert item["Notification"]["ComparisonOperator"] == "GREATER_THAN"
        thresholds.add((item["Notification"]["NotificationType"], item["Notification"]["Threshold"]))
    assert {("ACTUAL", 80), ("FORECASTED", 100)} <= thresholds


# ---- cluster.yaml ----------------------------------------------------------------------------------------------------


def lets_nobody_in(template: Template) -> None:
    for stack in variants(template):
        rules = [
            rule
            for group in properties(stack, "EC2::SecurityGroup").values()
            for rule in group.get("SecurityGroupIngress", [])
        ]
        rules += properties(stack, "EC2::SecurityGroupIngress").values()
        groups = set(properties(stack, "EC2::SecurityGroup"))
        assert rules
        for rule in rules:
            assert not {"CidrIp", "CidrIpv6", "SourcePrefixListId"} & set(rule), rule
            assert rule["SourceSecurityGroupId"] in groups


def has_no_ssh_key(template: Template) -> None:
    instances = only(made(template), "EMR::Cluster")["Instances"]
    assert "Ec2KeyName" not in instances
    assert not [name for name in template["Parameters"] if "Key" in name and name != "BucketKeyArn"]


def lets_people_in_through_session_manager(template: Template) -> None:
    actions = {
        action
        for statement in allowed(made(template))
        if statement["Resource"] == "*"
        for action in listed(statement["Action"])
    }
    channels = {f"ssmmessages:{verb}{which}Channel" for verb in ("Create", "Open") for which in ("Control", "Data")}
    assert actions == {"ssm:UpdateInstanceInformation", *channels}
    role = template["Resources"]["NodeRole"]["Properties"]
    assert "session-manager" in [policy.get("PolicyName") for policy in role["Policies"]]


def runs_spark_8(template: Template) -> None:
    assert template["Parameters"]["ReleaseLabel"]["Default"] == "emr-spark-8.1.0"
    cluster = only(made(template, ReleaseLabel="emr-spark-8.2.0"), "EMR::Cluster")
    assert cluster["ReleaseLabel"] == "emr-spark-8.2.0"
    # What emr-spark-8.1.0 lists; it has neither JupyterHub nor a Hadoop to choose.
    assert [item["Name"] for item in cluster["Applications"]] == ["Spark", "Livy", "JupyterEnterpriseGateway"]


def runs_release_7(template: Template) -> None:
    stack = made(template, ReleaseLabel="emr-7.14.0")
    names = [item["Name"] for item in only(stack, "EMR::Cluster")["Applications"]]
    assert {"Hadoop", "Spark", "Livy", "JupyterHub"} <= set(names)
    assert configuration(stack, "jupyter-s3-conf") == {
        "s3.persistence.enabled": "true",
        "s3.persistence.bucket": "<BucketName>",
    }
    assert not configuration(made(template), "jupyter-s3-conf")
    notebooks = "arn:aws:s3:::<BucketName>/jupyter/*"
    assert notebooks in [item["Resource"] for item in allowed(stack)]
    assert notebooks not in [item["Resource"] for item in allowed(made(template))]


def has_three_fleets(template: Template) -> None:
    capacity = {
        name: (fleet.get("TargetOnDemandCapacity", 0), fleet.get("TargetSpotCapacity", 0))
        for name, fleet in fleets(made(template, TaskNodes=4)).items()
    }
    assert capacity == {"primary": (1, 0), "core": (1, 0), "task": (0, 4)}
    task = fleets(made(template, TaskMarket="ON_DEMAND", TaskNodes=4))["task"]
    assert (task["TargetOnDemandCapacity"], task["TargetSpotCapacity"]) == (4, 0)


def buys_spot_with_care(template: Template) -> None:
    task = fleets(made(template))["task"]
    assert len(set(types(task))) >= 4, "one type runs out sooner"
    assert all(item["BidPriceAsPercentageOfOnDemandPrice"] <= 100 for item in task["InstanceTypeConfigs"])
    spot = task["LaunchSpecifications"]["SpotSpecification"]
    assert spot["AllocationStrategy"] == "price-capacity-optimized"
    assert spot["TimeoutAction"] == "TERMINATE_CLUSTER", "never on-demand machines that nobody asked for"


def has_types_with_wide_vectors(template: Template) -> None:
    # Intel's Xeon from Skylake on (AVX-512) on Nitro: generations 6 to 8 also encrypt between instances.
    wide = ("c6i", "c7i", "c8i", "m6i", "m7i", "m8i", "r6i", "r7i", "r8i")
    for region in EU_REGIONS:
        for fleet in fleets(made(template, region)).values():
            assert all(name.split(".")[0].removesuffix("-flex") in wide for name in types(fleet)), region


def has_types_that_emr_offers(template: Template) -> None:
    table = files("cfnlint.data.schemas.extensions.aws_emr_cluster") / "instancetypeconfig_instancetype_enum.json"
    offered = json.loads(table.read_text())
    for region in EU_REGIONS:
        for size in template["Parameters"]["NodeSize"]["AllowedValues"]:
            for fleet in fleets(made(template, region, NodeSize=size)).values():
                assert not set(types(fleet)) - set(offered[region]["enum"]), (region, size)


def scales_within_limits(template: Template) -> None:
    cluster = only(made(template, MaxNodes=7, CoreNodes=2), "EMR::Cluster")
    assert cluster["ManagedScalingPolicy"]["ComputeLimits"] == {
        "UnitType": "InstanceFleetUnits",
        "MinimumCapacityUnits": 2,
        "MaximumCapacityUnits": 7,
        "MaximumCoreCapacityUnits": 2,
        "MaximumOnDemandCapacityUnits": 2,
    }
    weights = {
        item["WeightedCapacity"]
        for name in ("core", "task")
        for item in fleets(made(template))[name]["InstanceTypeConfigs"]
    }
    assert weights == {1}, "a unit is a node"


def ends_itself(template: Template) -> None:
    assert template["Parameters"]["IdleSeconds"]["Default"] <= 3600
    cluster = only(made(template, IdleSeconds=900), "EMR::Cluster")
    assert cluster["AutoTerminationPolicy"] == {"IdleTimeout": 900}
    assert cluster["Instances"]["TerminationProtected"] is False


def writes_logs_to_the_bucket(template: Template) -> None:
    stack = made(template, Prefix="p")
    assert only(stack, "EMR::Cluster")["LogUri"] == "s3://<BucketName>/p/logs/emr/"
    spark = configuration(stack, "spark-defaults")
    assert spark["spark.eventLog.enabled"] == "true"
    events = "s3://<BucketName>/p/logs/spark-events"
    assert {spark["spark.eventLog.dir"], spark["spark.history.fs.logDirectory"], stack["Outputs"]["EventLogs"]} == {
        events
    }


def boots_from_the_bucket(template: Template) -> None:
    def arguments(**parameters: str) -> list[str]:
        stack = made(template, BucketName="b", Wheel="w.whl", **parameters)
        (action,) = only(stack, "EMR::Cluster")["BootstrapActions"]
        assert action["ScriptBootstrapAction"]["Path"] == "s3://b/fruits/artifacts/bootstrap-emr.sh"
        found: list[str] = action["ScriptBootstrapAction"]["Args"]
        return found

    plain = [
        "--wheel=s3://b/fruits/artifacts/w.whl",
        "--requirements=s3://b/fruits/artifacts/requirements-emr.txt",
        "--event-logs=s3://b/fruits/logs/spark-events",
        "--env=FRUITS_BUCKET=b",
        "--env=FRUITS_PREFIX=fruits",
        "--prefix=/opt/fruits",
    ]
    assert arguments() == plain
    more = arguments(Wheelhouse="yes", PrimaryRequirements="r.txt", ProjectArchive="p.tar.gz")
    assert set(more) - set(plain) == {
        "--primary-requirements=s3://b/fruits/artifacts/r.txt",
        "--wheelhouse=s3://b/fruits/artifacts/wheelhouse",
        "--project=s3://b/fruits/artifacts/p.tar.gz",
    }


def uses_the_python_that_was_made(template: Template) -> None:
    stack = made(template)
    python = "/opt/fruits/bin/python"
    spark = configuration(stack, "spark-defaults")
    names = ("spark.pyspark.python", "spark.yarn.appMasterEnv.PYSPARK_PYTHON", "spark.executorEnv.PYSPARK_PYTHON")
    assert {spark[name] for name in names} == {python}
    (env,) = [item for item in only(stack, "EMR::Cluster")["Configurations"] if item["Classification"] == "spark-env"]
    assert env["Configurations"][0]["ConfigurationProperties"] == {"PYSPARK_PYTHON": python}
    assert stack["Outputs"]["Python"] == python


def keeps_drivers_off_spot(template: Template) -> None:
    labels = configuration(made(template), "yarn-site")
    assert labels["yarn.node-labels.enabled"] == "true"
    assert labels["yarn.node-labels.am.default-node-label-expression"] == "ON_DEMAND"
    assert "yarn.node-labels.enabled" not in configuration(made(template, DriverOnDemand="no"), "yarn-site")


def security(template: Template, **parameters: str) -> dict[str, Any]:
    found: dict[str, Any] = only(made(template, **parameters), "EMR::SecurityConfiguration")["SecurityConfiguration"]
    return found


def encrypts_disks(template: Template) -> None:
    encryption = security(template)["EncryptionConfiguration"]
    assert encryption["EnableAtRestEncryption"] is True
    assert encryption["AtRestEncryptionConfiguration"] == {
        "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"},
        "LocalDiskEncryptionConfiguration": {
            "EnableEbsEncryption": True,
            "EncryptionKeyProviderType": "AwsKms",
            "AwsKmsKey": "DiskKey.Arn",
        },
    }
    keyed = security(template, BucketKeyArn="k")["EncryptionConfiguration"]["AtRestEncryptionConfiguration"]
    assert keyed["S3EncryptionConfiguration"] == {"EncryptionMode": "SSE-KMS", "AwsKmsKey": "k"}
    assert only(made(template), "EMR::Cluster")["SecurityConfiguration"] == "SecurityConfiguration"


def encrypts_in_transit(template: Template) -> None:
    stack = made(template)
    spark = configuration(stack, "spark-defaults")
    assert spark["spark.io.encryption.enabled"] == "true"
    for settings in (spark, configuration(stack, "yarn-site")):  # an executor and its shuffle service must agree
        assert settings["spark.authenticate"] == settings["spark.network.crypto.enabled"] == "true"
        assert settings["spark.network.crypto.authEngineVersion"] == "2"
    with_certificates = security(template, BucketName="b", TransitCertificates="c.zip")["EncryptionConfiguration"]
    assert with_certificates["EnableInTransitEncryption"] is True
    assert with_certificates["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"] == {
        "CertificateProviderType": "PEM",
        "S3Object": "s3://b/fruits/artifacts/c.zip",
    }


def demands_tokens_for_metadata(template: Template) -> None:
    for release, hops in {"emr-spark-8.1.0": 1, "emr-7.14.0": 2}.items():
        assert security(template, ReleaseLabel=release)["InstanceMetadataServiceConfiguration"] == {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": hops,
        }


def carries_the_tag_of_emr(template: Template) -> None:
    stack = made(template, PrivateSubnets="yes")
    instances = only(stack, "EMR::Cluster")["Instances"]
    names = {
        *instances["Ec2SubnetIds"],
        instances["EmrManagedMasterSecurityGroup"],
        instances["EmrManagedSlaveSecurityGroup"],
    }
    for name in names | {instances["ServiceAccessSecurityGroup"], "Vpc", "Cluster"}:
        assert EMR_TAG in stack["Resources"][name]["Properties"]["Tags"], name


def has_roles_that_emr_accepts(template: Template) -> None:
    stack = made(template)
    profile = only(stack, "IAM::InstanceProfile")
    assert profile["Roles"] == [profile["InstanceProfileName"]] == ["NodeRole"], "EMR wants them named alike"
    assert only(stack, "EMR::Cluster")["JobFlowRole"] == "NodeProfile"
    (passes,) = [item for item in allowed(stack) if item["Action"] == "iam:PassRole"]
    assert passes["Resource"] == "NodeRole.Arn"
    assert passes["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def has_no_fixed_names(template: Template) -> None:
    # Two clusters must fit into one account.
    for stack in variants(template):
        for kind, name in (("IAM::Role", "RoleName"), ("EC2::SecurityGroup", "GroupName")):
            assert not [item for item in properties(stack, kind).values() if name in item]
        assert "Name" not in only(stack, "EMR::SecurityConfiguration")


def reaches_s3_inside_amazon(template: Template) -> None:
    endpoint = only(made(template), "EC2::VPCEndpoint")
    assert endpoint["VpcEndpointType"] == "Gateway", "the kind that is free"
    assert endpoint["ServiceName"] == "com.amazonaws.eu-west-3.s3"
    assert endpoint["RouteTableIds"] == ["NodeRoutes"]


def costs_nothing_but_nodes(template: Template) -> None:
    paid = {"AWS::EC2::NatGateway", "AWS::EC2::EIP"}
    assert not paid & {item["Type"] for item in made(template)["Resources"].values()}
    assert paid <= {item["Type"] for item in made(template, PrivateSubnets="yes")["Resources"].values()}


def hides_nodes_when_asked(template: Template) -> None:
    public = {item["MapPublicIpOnLaunch"] for item in properties(made(template), "EC2::Subnet").values()}
    stack = made(template, PrivateSubnets="yes")
    private = {item["MapPublicIpOnLaunch"] for item in properties(stack, "EC2::Subnet").values()}
    assert (public, private) == ({True}, {False})
    ways = [item for item in properties(stack, "EC2::Route").values() if item["RouteTableId"] == "NodeRoutes"]
    assert [item.get("NatGatewayId") for item in ways] == ["NatGateway"]


def uses_an_existing_network(template: Template) -> None:
    stack = made(template, VpcId="vpc-1", SubnetIds="subnet-1,subnet-2")
    assert only(stack, "EMR::Cluster")["Instances"]["Ec2SubnetIds"] == ["subnet-1", "subnet-2"]
    assert only(stack, "EC2::SecurityGroup")["VpcId"] == "vpc-1"
    kinds = {item["Type"] for item in stack["Resources"].values()}
    assert not {kind for kind in kinds if kind.startswith("AWS::EC2")} - {
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupIngress",
    }


# ---- serverless.yaml -------------------------------------------------------------------------------------------------


def stops_between_jobs(template: Template) -> None:
    application = only(made(template), "EMRServerless::Application")
    assert application["AutoStopConfiguration"] == {"Enabled": True, "IdleTimeoutMinutes": 5}
    assert "InitialCapacity" not in application, "workers that are kept warm are paid for"


def has_a_ceiling(template: Template) -> None:
    application = only(made(template, MaxCpu="16 vCPU"), "EMRServerless::Application")
    assert application["MaximumCapacity"] == {"Cpu": "16 vCPU", "Memory": "128 GB", "Disk": "500 GB"}


def keeps_serverless_logs(template: Template) -> None:
    monitoring = only(made(template), "EMRServerless::Application")["MonitoringConfiguration"]
    assert monitoring["S3MonitoringConfiguration"] == {"LogUri": "s3://<BucketName>/fruits/logs/serverless/"}
    assert monitoring["ManagedPersistenceMonitoringConfiguration"] == {"Enabled": False}


def is_what_was_measured(template: Template) -> None:
    application = only(made(template), "EMRServerless::Application")
    assert (application["Architecture"], application["ReleaseLabel"]) == ("X86_64", "emr-spark-8.1.0")


# ---- Each check, and templates that it must refuse -------------------------------------------------------------------

BUCKET = "Resources/Bucket/Properties"
ACCESS = "Resources/DataAccess/Properties/PolicyDocument/Statement"
CLUSTER = "Resources/Cluster/Properties"
INSTANCES = f"{CLUSTER}/Instances"
TASK = f"{INSTANCES}/TaskInstanceFleets/0"
NODE_ROLE = "Resources/NodeRole/Properties"
SECURITY = "Resources/SecurityConfiguration/Properties/SecurityConfiguration"
SPARK = f"{CLUSTER}/Configurations/1/ConfigurationProperties"
YARN = f"{CLUSTER}/Configurations/2/ConfigurationProperties"
REGIONS = "Rules/EuropeanUnion/Assertions/0/Assert/Fn::Contains/0"
APPLICATION = "Resources/Application/Properties"
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
ALL_OF_S3 = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
OPEN = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}

Weakened = tuple[str, Any] | tuple[str]

PROMISES: list[tuple[str, Check, list[Weakened]]] = [
    ("storage", is_in_the_eu, [(f"{REGIONS}/+", "us-east-1"), (f"{REGIONS}/+", "eu-west-2"), ("Rules",)]),
    ("budget", is_in_the_eu, [(f"{REGIONS}/+", "us-east-1"), ("Rules",)]),
    ("cluster", is_in_the_eu, [(f"{REGIONS}/+", "eu-central-2"), (f"{REGIONS}/0", "us-east-1"), ("Rules",)]),
    ("serverless", is_in_the_eu, [(f"{REGIONS}/+", "us-east-1"), ("Rules",)]),
    ("storage", allows_no_wildcard_actions, [(f"{ACCESS}/1/Action", "s3:*"), (f"{ACCESS}/1/Action", "s3:Get*")]),
    ("cluster", allows_no_wildcard_actions, [(f"{NODE_ROLE}/Policies/0/PolicyDocument/Statement/+", ALL_OF_S3)]),
    ("storage", allows_no_wildcard_resources, [(f"{ACCESS}/1/Resource", "*"), (f"{ACCESS}/2/Resource/+", "*")]),
    ("cluster", allows_no_wildcard_resources, [(f"{NODE_ROLE}/Policies/1/PolicyDocument/Statement/0/Resource", "*")]),
    ("storage", keeps_s3_to_the_bucket, [(f"{ACCESS}/1/Resource/+", "arn:aws:s3:::other/*")]),
    (
        "cluster",
        keeps_s3_to_the_bucket,
        [(f"{NODE_ROLE}/Policies/0/PolicyDocument/Statement/+", {**ALL_OF_S3, "Resource": "arn:aws:s3:::other/*"})],
    ),
    ("cluster", attaches_no_broad_policies, [(f"{NODE_ROLE}/ManagedPolicyArns/+", ADMIN)]),
    ("serverless", attaches_no_broad_policies, [("Resources/JobRole/Properties/ManagedPolicyArns/+", ADMIN)]),
    (
        "cluster",
        trusts_services_only,
        [
            (f"{NODE_ROLE}/AssumeRolePolicyDocument/Statement/0/Principal", {"AWS": "*"}),
            ("Resources/ServiceRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",),
        ],
    ),
    (
        "serverless",
        trusts_services_only,
        [("Resources/JobRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",)],
    ),
    (
        "storage",
        opens_keys_to_the_account_only,
        [
            ("Resources/BucketKey/Properties/KeyPolicy/Statement/0/Principal/AWS", "*"),
            ("Resources/BucketKey/Properties/EnableKeyRotation", False),
        ],
    ),
    (
        "cluster",
        opens_keys_to_the_account_only,
        [
            ("Resources/DiskKey/Properties/KeyPolicy/Statement/1/Condition",),
            ("Resources/DiskKey/Properties/KeyPolicy/Statement/1/Condition/StringEquals/kms:CallerAccount",),
            ("Resources/DiskKey/Properties/KeyPolicy/Statement/1/Action", ["kms:*"]),
        ],
    ),
    (
        "storage",
        encrypts_the_bucket,
        [(f"{BUCKET}/BucketEncryption",), (f"{ACCESS}/6/Fn::If/1/Action", ["kms:Decrypt"])],
    ),
    ("storage", keeps_versions, [(f"{BUCKET}/VersioningConfiguration/Status", "Suspended")]),
    (
        "storage",
        blocks_public_access,
        [
            (f"{BUCKET}/PublicAccessBlockConfiguration/BlockPublicPolicy", False),
            (f"{BUCKET}/PublicAccessBlockConfiguration/IgnorePublicAcls",),
        ],
    ),
    ("storage", has_no_access_lists, [(f"{BUCKET}/OwnershipControls/Rules/0/ObjectOwnership", "ObjectWriter")]),
    (
        "storage",
        demands_tls,
        [
            ("Resources/BucketPolicy",),
            ("Resources/BucketPolicy/Properties/PolicyDocument/Statement/0/Effect", "Allow"),
            ("Resources/BucketPolicy/Properties/PolicyDocument/Statement/0/Resource/1",),
            ("Resources/BucketPolicy/Properties/PolicyDocument/Statement/1",),
        ],
    ),
    (
        "storage",
        ends_abandoned_uploads,
        [
            (f"{BUCKET}/LifecycleConfiguration/Rules/0",),
            (f"{BUCKET}/LifecycleConfiguration/Rules/0/Status", "Disabled"),
            (f"{BUCKET}/LifecycleConfiguration/Rules/0/Prefix", "logs/"),
        ],
    ),
    (
        "storage",
        expires_logs,
        [(f"{BUCKET}/LifecycleConfiguration/Rules/2",), (f"{BUCKET}/LifecycleConfiguration/Rules/2/Prefix",)],
    ),
    ("storage", forgets_old_versions, [(f"{BUCKET}/LifecycleConfiguration/Rules/1/NoncurrentVersionExpiration",)]),
    (
        "storage",
        expires_photographs_when_asked,
        [
            (f"{BUCKET}/LifecycleConfiguration/Rules/3",),
            ("Conditions/RawExpires", {"Fn::Equals": ["a", "a"]}),
        ],
    ),
    (
        "storage",
        keeps_the_bucket,
        [("Resources/Bucket/DeletionPolicy", "Delete"), ("Resources/BucketKey/DeletionPolicy", "Delete")],
    ),
    (
        "storage",
        leaves_photographs_alone,
        [
            (f"{ACCESS}/1/Action", ["s3:GetObject", "s3:PutObject"]),
            (f"{ACCESS}/2/Resource/0", {"Fn::Sub": "${Bucket.Arn}/${Prefix}/01_raw/*"}),
            (f"{ACCESS}/1/Resource/1", {"Fn::Sub": "${Bucket.Arn}/*"}),
        ],
    ),
    (
        "storage",
        lets_jobs_write_their_layers,
        [(f"{ACCESS}/2/Resource/3",), (f"{ACCESS}/1/Resource/0",), *((f"{ACCESS}/{number}",) for number in (3, 4, 5))],
    ),
    (
        "budget",
        warns_of_costs,
        [
            ("Resources/Budget/Properties/NotificationsWithSubscribers/2",),
            ("Resources/Budget/Properties/NotificationsWithSubscribers/1/Subscribers", []),
            ("Resources/Budget/Properties/Budget/BudgetLimit/Amount", 1000000),
            ("Resources/Budget/Properties/Budget/TimeUnit", "ANNUALLY"),
        ],
    ),
    (
        "cluster",
        lets_nobody_in,
        [
            ("Resources/NodeGroup/Properties/SecurityGroupIngress", [OPEN]),
            ("Resources/NodesAmongThemselves/Properties/CidrIp", "0.0.0.0/0"),
            ("Resources/ServiceToNodes/Properties/CidrIpv6", "::/0"),
            ("Resources/NodesAmongThemselves/Properties/SourceSecurityGroupId", "sg-of-somebody"),
        ],
    ),
    (
        "cluster",
        has_no_ssh_key,
        [(f"{INSTANCES}/Ec2KeyName", "mine"), ("Parameters/KeyName", {"Type": "String", "Default": ""})],
    ),
    (
        "cluster",
        lets_people_in_through_session_manager,
        [(f"{NODE_ROLE}/Policies/0",), (f"{NODE_ROLE}/Policies/0/PolicyDocument/Statement/0/Action/2",)],
    ),
    (
        "cluster",
        runs_spark_8,
        [
            ("Parameters/ReleaseLabel/Default", "emr-7.14.0"),
            (f"{CLUSTER}/ReleaseLabel", "emr-spark-8.1.0"),
            (f"{CLUSTER}/Applications/Fn::If/1/+", {"Name": "JupyterHub"}),
        ],
    ),
    (
        "cluster",
        runs_release_7,
        [
            ("Conditions/IsSpark8", {"Fn::Equals": ["a", "a"]}),
            (f"{CLUSTER}/Applications/Fn::If/2/4",),
            (f"{CLUSTER}/Configurations/3",),
            (f"{NODE_ROLE}/Policies/2",),
        ],
    ),
    ("cluster", has_three_fleets, [(f"{TASK}/TargetSpotCapacity", 0), (f"{INSTANCES}/TaskInstanceFleets", [])]),
    (
        "cluster",
        buys_spot_with_care,
        [
            (f"{TASK}/InstanceTypeConfigs/3",),
            (f"{TASK}/InstanceTypeConfigs/0/BidPriceAsPercentageOfOnDemandPrice", 200),
            ("Parameters/SpotTimeoutAction/Default", "SWITCH_TO_ON_DEMAND"),
        ],
    ),
    (
        "cluster",
        has_types_with_wide_vectors,
        [("Mappings/Families/eu-west-3/Types/0", "c7g"), ("Parameters/PrimaryType/Default", "m6a.xlarge")],
    ),
    (
        "cluster",
        has_types_that_emr_offers,
        [("Mappings/Families/eu-south-1/Types/0", "c7i"), ("Mappings/Families/eu-south-2/Types/3", "c6i")],
    ),
    (
        "cluster",
        scales_within_limits,
        [
            (f"{CLUSTER}/ManagedScalingPolicy/ComputeLimits/MaximumCapacityUnits", 100),
            (f"{CLUSTER}/ManagedScalingPolicy/ComputeLimits/MaximumOnDemandCapacityUnits",),
            (f"{TASK}/InstanceTypeConfigs/1/WeightedCapacity", 2),
        ],
    ),
    (
        "cluster",
        ends_itself,
        [
            (f"{CLUSTER}/AutoTerminationPolicy",),
            ("Parameters/IdleSeconds/Default", 86400),
            (f"{INSTANCES}/TerminationProtected", True),
        ],
    ),
    (
        "cluster",
        writes_logs_to_the_bucket,
        [(f"{CLUSTER}/LogUri",), (f"{SPARK}/spark.eventLog.dir", "hdfs:///var/log/spark")],
    ),
    (
        "cluster",
        boots_from_the_bucket,
        [
            (f"{CLUSTER}/BootstrapActions/0/ScriptBootstrapAction/Path", "s3://somebody/else.sh"),
            (f"{CLUSTER}/BootstrapActions/0/ScriptBootstrapAction/Args/1",),
            (f"{CLUSTER}/BootstrapActions/0/ScriptBootstrapAction/Args/3",),
        ],
    ),
    (
        "cluster",
        uses_the_python_that_was_made,
        [(f"{SPARK}/spark.pyspark.python", "/usr/bin/python3"), (f"{CLUSTER}/Configurations/0",)],
    ),
    ("cluster", keeps_drivers_off_spot, [(f"{YARN}/yarn.node-labels.am.default-node-label-expression", "")]),
    (
        "cluster",
        encrypts_disks,
        [
            (f"{SECURITY}/EncryptionConfiguration/EnableAtRestEncryption", False),
            (
                f"{SECURITY}/EncryptionConfiguration/AtRestEncryptionConfiguration"
                "/LocalDiskEncryptionConfiguration/EnableEbsEncryption",
                False,
            ),
            (f"{CLUSTER}/SecurityConfiguration",),
        ],
    ),
    (
        "cluster",
        encrypts_in_transit,
        [
            (f"{SPARK}/spark.network.crypto.enabled", "false"),
            (f"{YARN}/spark.authenticate", "false"),
            (f"{SPARK}/spark.io.encryption.enabled", "false"),
            (f"{SECURITY}/EncryptionConfiguration/EnableInTransitEncryption", False),
        ],
    ),
    (
        "cluster",
        demands_tokens_for_metadata,
        [(f"{SECURITY}/InstanceMetadataServiceConfiguration/MinimumInstanceMetadataServiceVersion", 1)],
    ),
    (
        "cluster",
        carries_the_tag_of_emr,
        [
            ("Resources/NodeSubnetB/Properties/Tags/2",),
            ("Resources/NodeGroup/Properties/Tags/2",),
            ("Resources/ServiceGroup/Properties/Tags/2",),
            (f"{CLUSTER}/Tags/2",),
        ],
    ),
    (
        "cluster",
        has_roles_that_emr_accepts,
        [
            ("Resources/NodeProfile/Properties/InstanceProfileName", "fruits"),
            ("Resources/ServiceRole/Properties/Policies/0/PolicyDocument/Statement/0/Condition",),
        ],
    ),
    (
        "cluster",
        has_no_fixed_names,
        [(f"{NODE_ROLE}/RoleName", "fruits"), ("Resources/NodeGroup/Properties/GroupName", "fruits")],
    ),
    (
        "cluster",
        reaches_s3_inside_amazon,
        [("Resources/S3Endpoint",), ("Resources/S3Endpoint/Properties/VpcEndpointType", "Interface")],
    ),
    ("cluster", costs_nothing_but_nodes, [("Resources/NatGateway/Condition", "OwnNetwork")]),
    (
        "cluster",
        hides_nodes_when_asked,
        [("Resources/NodeSubnetA/Properties/MapPublicIpOnLaunch", True), ("Resources/RouteToNat",)],
    ),
    (
        "cluster",
        uses_an_existing_network,
        [("Resources/Vpc/Condition",), (f"{INSTANCES}/Ec2SubnetIds", ["NodeSubnetA"])],
    ),
    (
        "serverless",
        stops_between_jobs,
        [
            (f"{APPLICATION}/AutoStopConfiguration/Enabled", False),
            (f"{APPLICATION}/InitialCapacity", [{"Key": "Driver"}]),
            ("Parameters/IdleMinutes/Default", 600),
        ],
    ),
    ("serverless", has_a_ceiling, [(f"{APPLICATION}/MaximumCapacity",)]),
    ("serverless", keeps_serverless_logs, [(f"{APPLICATION}/MonitoringConfiguration",)]),
    ("serverless", is_what_was_measured, [(f"{APPLICATION}/Architecture", "ARM64")]),
]


def named(parts: tuple[Any, ...]) -> str:
    return "-".join(getattr(part, "__name__", str(part)) for part in parts)


@pytest.mark.parametrize(("name", "check"), [pytest.param(*item[:2], id=named(item[:2])) for item in PROMISES])
def test_a_template_keeps_its_promise(name: str, check: Check) -> None:
    check(TEMPLATES[name])


@pytest.mark.parametrize(
    ("name", "check", "weakened"),
    [
        pytest.param(*item[:2], what, id=f"{named(item[:2])}-{number}")
        for item in PROMISES
        for number, what in enumerate(item[2])
    ],
)
def test_the_check_sees_a_broken_promise(name: str, check: Check, weakened: Weakened) -> None:
    broken = change(TEMPLATES[name], weakened[0], weakened[1] if len(weakened) == 2 else GONE)
    with pytest.raises((AssertionError, LookupError, ValueError)):
        check(broken)


def test_every_template_is_held_to_something() -> None:
    assert set(TEMPLATES) == {name for name, _, _ in PROMISES} == {"storage", "budget", "cluster", "serverless"}


# ---- cfn-lint --------------------------------------------------------------------------------------------------------


def findings(path: Path, regions: list[str]) -> list[str]:
    return [str(match) for match in lint_file(path, config=ManualArgs(regions=regions))]


@pytest.mark.parametrize("name", TEMPLATES)
def test_cfn_lint_finds_nothing(name: str) -> None:
    assert findings(BOOTSTRAP / f"{name}.yaml", BUDGET_REGIONS if name == "budget" else EU_REGIONS) == []


def test_cfn_lint_finds_what_is_wrong(tmp_path: Path) -> None:
    broken = change(TEMPLATES["cluster"], f"{CLUSTER}/ManagedScalingPolicy/ComputeLimits/UnitType")
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    assert len(findings(tmp_path / "broken.json", ["eu-west-3"])) == 1
