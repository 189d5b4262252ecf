"""Bounds and names of the parameters, and that Kedro validates each of them before any node runs."""

import math
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Node
from kedro.validation.parameter_validator import ParameterValidator
from kedro.validation.type_extractor import TypeExtractor
from pydantic import BaseModel, ValidationError

from fruits_pipeline import parameters as models
from fruits_pipeline.parameters import GROUPS
from fruits_pipeline.pipeline_registry import register_pipelines
from fruits_pipeline.schemas import N_FEATURES
from fruits_pipeline.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).resolve().parents[1]

VALID: dict[str, dict[str, Any]] = {
    "IngestionParameters": {"extensions": ["jpg"]},
    "LabelingParameters": {"folder_level": 1},
    "EncoderParameters": {
        "name": "MobileNetV2",
        "alpha": 0.35,
        "weights": "bundled",
        "engine": "onnx",
        "precision": "float32",
    },
    "FeaturizationParameters": {
        "batch_size": 16,
        "images_per_task": 128,
        "read_ahead": 16,
        "max_pixels": 1000,
        "max_quarantined": 0.01,
        "refresh": False,
    },
    "ScalingParameters": {"block_rows": 1024},
    "PcaParameters": {"variance": 0.95, "n_components": None},
    "ReportingParameters": {"scatter_points": 5000},
    "ApplyParameters": {"fit": None},
    "MaintenanceParameters": {"rows_per_file": 20_000, "keep_replaced_hours": 24},
    "ForgetParameters": {"paths": [], "labels": [], "sha256": []},
}
"""One valid set of values for each model."""

DEFAULTS = {"n_components": None, "fit": None, "paths": (), "labels": (), "sha256": ()}
"""Of the parameters that may be left out."""

ACCEPTED = [
    ("IngestionParameters", "extensions", ["jpg", "png"]),
    ("LabelingParameters", "folder_level", 1),
    ("LabelingParameters", "folder_level", 32),
    ("EncoderParameters", "alpha", 1.0),
    ("EncoderParameters", "alpha", 0.001),
    ("EncoderParameters", "engine", "tensorflow"),
    ("EncoderParameters", "weights", "s3://bucket/weights.h5"),
    ("EncoderParameters", "precision", "bfloat16"),
    ("FeaturizationParameters", "batch_size", 256),
    ("FeaturizationParameters", "images_per_task", 1),
    ("FeaturizationParameters", "read_ahead", 0),
    ("FeaturizationParameters", "read_ahead", 256),
    ("FeaturizationParameters", "max_pixels", 1),
    ("FeaturizationParameters", "max_quarantined", 0),
    ("FeaturizationParameters", "max_quarantined", 1),
    ("FeaturizationParameters", "refresh", True),
    ("ScalingParameters", "block_rows", 1),
    ("ScalingParameters", "block_rows", 65536),
    ("PcaParameters", "variance", 1),
    ("PcaParameters", "variance", 1e-9),
    ("PcaParameters", "n_components", 1),
    ("PcaParameters", "n_components", N_FEATURES),
    ("ReportingParameters", "scatter_points", 1),
    ("ReportingParameters", "scatter_points", 100_000),
    ("ApplyParameters", "fit", "0123456789abcdef"),
    ("ApplyParameters", "fit", None),
    ("MaintenanceParameters", "rows_per_file", 1),
    ("MaintenanceParameters", "rows_per_file", 10**9),
    ("MaintenanceParameters", "keep_replaced_hours", 0),
    ("MaintenanceParameters", "keep_replaced_hours", 0.5),
    ("ForgetParameters", "paths", ["file:/a b/;c.jpg", "s3://bucket/Apple/"]),
    ("ForgetParameters", "labels", ["Pêche jaune"]),
    ("ForgetParameters", "sha256", ["0" * 64]),
]

REFUSED = [
    ("IngestionParameters", "extensions", []),
    ("IngestionParameters", "extensions", "jpg"),
    ("IngestionParameters", "extensions", None),
    ("IngestionParameters", "extensions", ["jpg", ""]),
    ("IngestionParameters", "extensions", ["."]),
    ("IngestionParameters", "extensions", ["*.jpg"]),
    ("IngestionParameters", "extensions", [" jpg"]),
    ("LabelingParameters", "folder_level", 0),
    ("LabelingParameters", "folder_level", 33),
    ("LabelingParameters", "folder_level", 1.5),
    ("EncoderParameters", "name", "ResNet50"),
    ("EncoderParameters", "alpha", 0),
    ("EncoderParameters", "alpha", 1.4),
    ("EncoderParameters", "alpha", math.nan),
    ("EncoderParameters", "weights", ""),
    ("EncoderParameters", "weights", None),
    ("EncoderParameters", "engine", "torch"),
    ("EncoderParameters", "precision", "int8"),
    ("FeaturizationParameters", "batch_size", 0),
    ("FeaturizationParameters", "batch_size", 257),
    ("FeaturizationParameters", "images_per_task", 0),
    ("FeaturizationParameters", "read_ahead", -1),
    ("FeaturizationParameters", "read_ahead", 257),
    ("FeaturizationParameters", "max_pixels", 0),
    ("FeaturizationParameters", "max_pixels", 10**12),
    ("FeaturizationParameters", "max_quarantined", -0.01),
    ("FeaturizationParameters", "max_quarantined", 1.01),
    ("FeaturizationParameters", "max_quarantined", math.nan),
    ("FeaturizationParameters", "refresh", "perhaps"),
    ("ScalingParameters", "block_rows", 0),
    ("ScalingParameters", "block_rows", 65537),
    ("PcaParameters", "variance", 0),
    ("PcaParameters", "variance", 1.01),
    ("PcaParameters", "variance", 95),
    ("PcaParameters", "variance", math.nan),
    ("PcaParameters", "n_components", 0),
    ("PcaParameters", "n_components", N_FEATURES + 1),
    ("PcaParameters", "n_components", 2.5),
    ("ReportingParameters", "scatter_points", 0),
    ("ReportingParameters", "scatter_points", 100_001),
    ("ApplyParameters", "fit", "0123456789abcde"),
    ("ApplyParameters", "fit", "0123456789abcdef0"),
    ("ApplyParameters", "fit", "0123456789ABCDEF"),
    ("ApplyParameters", "fit", ""),
    ("MaintenanceParameters", "rows_per_file", 0),
    ("MaintenanceParameters", "keep_replaced_hours", -0.1),
    ("MaintenanceParameters", "keep_replaced_hours", math.nan),
    ("ForgetParameters", "paths", None),
    ("ForgetParameters", "labels", [1]),
    ("ForgetParameters", "sha256", 7),
]


def build(model: str, **values: Any) -> BaseModel:
    built: BaseModel = getattr(models, model)(**{**VALID[model], **values})
    return built


def test_every_model_is_tested():
    defined = {
        name
        for name, kind in vars(models).items()
        if name.endswith("Parameters") and kind.__module__ == models.__name__
    }
    assert defined - {"_Parameters"} == set(VALID)
    for model, values in VALID.items():
        assert set(getattr(models, model).model_fields) == set(values)


@pytest.mark.parametrize(("model", "field", "value"), ACCEPTED)
def test_values_within_the_bounds(model, field, value):
    assert getattr(build(model, **{field: value}), field) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(("model", "field", "value"), REFUSED)
def test_values_beyond_the_bounds(model, field, value):
    with pytest.raises(ValidationError) as caught:
        build(model, **{field: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


@pytest.mark.parametrize("model", sorted(VALID))
def test_misspelt_names_are_refused(model):
    name = next(iter(VALID[model]))
    with pytest.raises(ValidationError, match=f"{name}s\n.*Extra inputs are not permitted"):
        build(model, **{f"{name}s": VALID[model][name]})


@pytest.mark.parametrize(("model", "field"), [(model, field) for model in VALID for field in VALID[model]])
def test_few_have_a_silent_default(model, field):
    rest = {name: value for name, value in VALID[model].items() if name != field}
    if field in DEFAULTS:
        assert getattr(getattr(models, model)(**rest), field) == DEFAULTS[field]
    else:
        with pytest.raises(ValidationError, match="Field required"):
            getattr(models, model)(**rest)


@pytest.mark.parametrize("model", sorted(VALID))
def test_parameters_are_frozen(model):
    built = build(model)
    name = next(iter(VALID[model]))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(built, name, VALID[model][name])


def test_extensions_are_lower_case_and_without_dot():
    assert build("IngestionParameters", extensions=[".JPG", "Png", "jpeg"]).extensions == ("jpg", "png", "jpeg")


@pytest.mark.parametrize("field", ["paths", "labels", "sha256"])
@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a", ("a",)),
        ("/photos/Apple/1.jpg; /photos/Pear/ ;", ("/photos/Apple/1.jpg", "/photos/Pear/")),
        ("a, b;c:d", ("a, b", "c:d")),
        ("Pêche jaune;1;2.5", ("Pêche jaune", "1", "2.5")),
        ("", ()),
        (" ; ;", ()),
    ],
)
def test_a_text_holds_several_values_separated_by_semicolons(field, text, values):
    """As the command line gives them: a comma ends a parameter there."""
    assert getattr(build("ForgetParameters", **{field: text}), field) == values


# ---- the parameters of the pipelines ---------------------------------------------------------------------------------


def typed_inputs() -> list[tuple[Node, str]]:
    """Every node of the registry with each of its `params:` inputs."""
    nodes = {node.name: node for pipeline in register_pipelines().values() for node in pipeline.nodes}
    return [(node, name) for node in nodes.values() for name in node.inputs if name.startswith("params:")]


def test_groups_are_the_parameters_of_the_pipelines():
    assert {name.removeprefix("params:") for _, name in typed_inputs()} == set(GROUPS)
    assert len(set(GROUPS)) == len(GROUPS)


@pytest.mark.parametrize(("node", "name"), typed_inputs(), ids=lambda value: getattr(value, "name", value))
def test_kedro_validates_every_parameter_of_every_node(node, name):
    """Kedro skips a node whose type hints cannot be resolved, with no more than a warning in the log."""
    found = TypeExtractor({})._extract_types_from_node(node)
    model = found[name.removeprefix("params:")]
    assert issubclass(model, BaseModel)
    assert model.model_config["extra"] == "forbid"
    assert model.__name__ in VALID


def test_a_hint_that_cannot_be_resolved_would_be_seen():
    def blind(parameters: "NotImported") -> None:  # noqa: F821
        """A node as it would be with its models under TYPE_CHECKING."""

    assert TypeExtractor({})._extract_types_from_node(Node(blind, "params:pca", None)) == {}


@pytest.mark.parametrize("env", ["base", "cloud"])
def test_the_files_in_conf_are_valid(env):
    conf = PROJECT / "conf"
    if not (conf / env).is_dir():
        pytest.skip(f"no conf/{env}")
    loader = OmegaConfigLoader(str(conf), env=env, **{**CONFIG_LOADER_ARGS, "default_run_env": env})
    values = loader["parameters"]
    validated = ParameterValidator(register_pipelines()).validate_raw_params(values)
    assert set(values) == set(GROUPS)
    for name in GROUPS:
        assert type(validated[name]).__name__ in VALID
    assert (validated["apply"].fit, validated["forget"]) == (None, models.ForgetParameters())  # nothing by accident


def test_a_wrong_value_at_the_command_line_is_refused():
    loader = OmegaConfigLoader(
        str(PROJECT / "conf"),
        env="base",
        runtime_params={"pca": {"variance": 95}, "scaling": {"blok_rows": 5}},
        **{**CONFIG_LOADER_ARGS, "default_run_env": "base"},
    )
    with pytest.raises(Exception, match="less than or equal to 1") as caught:
        ParameterValidator(register_pipelines()).validate_raw_params(loader["parameters"])
    assert "blok_rows" in str(caught.value)


def test_the_reference_engine_has_one_precision():
    with pytest.raises(ValidationError, match="bfloat16 needs engine onnx"):
        build("EncoderParameters", engine="tensorflow", precision="bfloat16")
