"""The training script's pure parts, the measuring of an encoder, and the weights file that is shipped."""

import dataclasses
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fruits_pipeline.encoders import distil, evaluate
from fruits_pipeline.encoders.keras_network import import_keras
from fruits_pipeline.encoders.weights import BUNDLED_FILE

STAGE = distil.Stage(until=1.0, edge=64, batch=6, blockwise=False, plain=0.3)
BUNDLED = files("fruits_pipeline.encoders") / "pretrained" / BUNDLED_FILE


@pytest.fixture(scope="module")
def pictures() -> distil.Pictures:
    rng = np.random.default_rng(5)
    blotches = np.stack([distil.texture(224, rng) for _ in range(4)]).astype(np.uint8)
    return distil.Pictures(photographs=blotches[:2], rendered=blotches[2:])


@pytest.mark.parametrize("edge", [64, 96, 224])
def test_batch_has_the_shape_type_and_range_of_the_input(pictures: distil.Pictures, edge: int) -> None:
    batch = distil.make_batch(pictures, dataclasses.replace(STAGE, edge=edge), seed=1, step=0)
    assert batch.shape == (6, edge, edge, 3)
    assert batch.dtype == np.float32
    assert batch.min() >= -1
    assert batch.max() <= 1


def test_batch_follows_from_seed_and_step_alone(pictures: distil.Pictures) -> None:
    first = distil.make_batch(pictures, STAGE, seed=1, step=7)
    np.testing.assert_array_equal(first, distil.make_batch(pictures, STAGE, seed=1, step=7))
    assert not np.array_equal(first, distil.make_batch(pictures, STAGE, seed=1, step=8))
    assert not np.array_equal(first, distil.make_batch(pictures, STAGE, seed=2, step=7))


def test_every_augmentation_stays_within_the_range_of_pixels(pictures: distil.Pictures) -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        view = distil.augmented_view(pictures, 32, rng)
        assert view.shape == (32, 32, 3)
        assert 0 <= view.min() <= view.max() <= 255


def test_no_rendered_pictures_are_needed(pictures: distil.Pictures) -> None:
    alone = distil.Pictures(pictures.photographs, pictures.rendered[:0])
    assert distil.make_batch(alone, STAGE, seed=0, step=0).shape == (6, 64, 64, 3)


def test_plain_view_at_full_size_is_the_photograph_itself(pictures: distil.Pictures) -> None:
    image = pictures.photographs[0]
    np.testing.assert_array_equal(distil.plain_view(image, 224, np.random.default_rng(0)), image)


def test_recolouring_by_nothing_changes_nothing() -> None:
    np.testing.assert_allclose(distil._hue_matrix(0.0, 1.0), np.eye(3), atol=1e-12)


def test_hue_rotation_leaves_gray_alone_and_moves_red() -> None:
    matrix = distil._hue_matrix(2 * np.pi / 3, 1.0)
    np.testing.assert_allclose(matrix @ [0.4, 0.4, 0.4], [0.4, 0.4, 0.4], atol=1e-12)
    np.testing.assert_allclose(matrix @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-12)


def test_prefetched_batches_come_in_order_and_start_where_asked() -> None:
    with distil.prefetched(lambda step: np.array([step]), first_step=3) as take:
        assert [int(take()[0]) for _ in range(10)] == list(range(3, 13))


def test_a_fault_while_making_a_batch_reaches_the_training() -> None:
    def make(step: int) -> np.ndarray:
        raise ValueError(f"no batch {step}")

    with distil.prefetched(make, first_step=0) as take, pytest.raises(ValueError, match="no batch 0"):
        take()


def test_learning_rate_warms_up_and_ends_low() -> None:
    assert distil.learning_rate(0, 0.0) < 0.02 * distil.PEAK_RATE
    assert distil.learning_rate(distil.WARM_UP_STEPS, 0.0) == pytest.approx(distil.PEAK_RATE)
    assert distil.learning_rate(10_000, 1.0) == pytest.approx(distil.LAST_RATE)


def test_frame_number_of_both_axes_and_of_other_names() -> None:
    assert evaluate.frame_number("105_100.jpg") == 105
    assert evaluate.frame_number("r_7_100.jpg") == 7
    assert evaluate.frame_number("r_100.jpg") == 0


def turntable(rng: np.random.Generator) -> tuple[np.ndarray, evaluate.Photographs]:
    """Noise features, and 5 kinds with 60 photographs each, spread over the turn; no pixels."""
    kinds = np.repeat([f"kind {number}" for number in range(5)], 60)
    frames = np.tile(np.arange(60) * 5, 5)
    return rng.normal(size=(300, 40)), evaluate.Photographs(np.zeros((300, 0)), kinds, frames)


def test_separable_features_find_every_neighbour() -> None:
    noise, photographs = turntable(np.random.default_rng(0))
    code = np.eye(5)[np.repeat(np.arange(5), 60)]
    quality = evaluate.evaluate(code + 0.01 * noise[:, :5], photographs)
    assert quality.overall == 1.0
    assert quality.components <= 5


def test_noise_finds_a_neighbour_by_chance_only() -> None:
    noise, photographs = turntable(np.random.default_rng(0))
    assert evaluate.evaluate(noise, photographs).overall == pytest.approx(0.2, abs=0.07)


def test_frames_nearby_are_no_neighbours() -> None:
    """Features that only know the frame find the opposite side at best: chance."""
    _, photographs = turntable(np.random.default_rng(0))
    hits, _ = evaluate.neighbour_hits(np.c_[photographs.frames * 1.0], photographs.kinds, photographs.frames)
    assert hits.mean() == pytest.approx(0.2, abs=0.07)


def test_unseen_kinds_are_counted_apart() -> None:
    noise, photographs = turntable(np.random.default_rng(0))
    number = np.unique(photographs.kinds, return_inverse=True)[1]
    known = (photographs.kinds != "kind 4")[:, None]
    quality = evaluate.evaluate(np.where(known, 100.0 * number[:, None], 50 * noise), photographs, unseen=["kind 4"])
    assert quality.seen > 0.9
    assert quality.unseen < quality.overall < quality.seen
    assert "unseen" in evaluate.describe(quality)
    assert "unseen" not in evaluate.describe(evaluate.evaluate(noise, photographs))


def test_components_are_counted_exactly() -> None:
    variances = np.array([60.0, 30.0, 6.0, 4.0])
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 4)))[0] * np.sqrt(variances)
    assert evaluate.count_components(basis, 0.90 - 1e-9) == 2
    assert evaluate.count_components(basis, 0.95) == 3
    assert evaluate.count_components(basis, 0.97) == 4


def test_constant_features_are_no_trouble() -> None:
    standardised = evaluate.standardise(np.array([[1.0, 5.0], [3.0, 5.0]]))
    np.testing.assert_array_equal(standardised, [[-1.0, 0.0], [1.0, 0.0]])


def test_photographs_are_read_by_kind_and_kinds_can_be_left_out(tmp_path: Path) -> None:
    for kind in ("Kiwi", "Plum"):
        (tmp_path / kind).mkdir()
        Image.new("RGB", (100, 100), "red").save(tmp_path / kind / "r_12_100.jpg")
    photographs = evaluate.read_photographs(tmp_path, exclude=["Plum"])
    assert photographs.kinds.tolist() == ["Kiwi"]
    assert photographs.frames.tolist() == [12]
    assert photographs.pixels.shape == (1, 224, 224, 3)
    with pytest.raises(FileNotFoundError, match="no photographs"):
        evaluate.read_photographs(tmp_path / "nowhere")


@pytest.mark.slow
def test_no_error_where_student_and_teacher_agree() -> None:
    rng = np.random.default_rng(0)
    hints = [rng.random((2, 4, 4, 5), dtype=np.float32) for _ in range(18)]
    scales = distil.Scales([np.ones(5, np.float32)] * 18, np.ones(5, np.float32))
    np.testing.assert_allclose(distil.distillation_losses(hints, hints, scales), np.zeros(19), atol=1e-6)
    worse = [hint + 2 for hint in hints]
    losses = np.asarray(distil.distillation_losses(worse, hints, scales))
    np.testing.assert_allclose(losses[:-1], 4.0, rtol=1e-4)
    assert losses[-1] == pytest.approx(2 * (np.sqrt(5.0) - 1), rel=1e-4)


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that knows nothing: random weights."""
    keras = import_keras()
    keras.utils.set_random_seed(99)
    path = tmp_path_factory.mktemp("teacher") / "teacher.weights.h5"
    distil.build_mobilenet(224).save_weights(path)
    return path


# Keras turns TensorFlow's variables into NumPy arrays by an interface that NumPy 2 has outdated.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.slow
def test_a_killed_training_continues_and_leaves_weights_that_keras_loads(
    pictures: distil.Pictures, teacher_file: Path, tmp_path: Path
) -> None:
    batch = distil.make_batch(pictures, STAGE, seed=3, step=0)
    first = distil.Distillation(teacher_file, seed=3)
    first.initialise(batch)
    first.advance(lambda _: np.ones(19), batch, progress=0.5)
    first.save(tmp_path / "out.weights.h5", tmp_path / "checkpoint.npz")

    second = distil.Distillation(teacher_file, seed=4)
    second.restore(tmp_path / "checkpoint.npz")
    assert (second.step, second.pictures_seen) == (1, 6)
    for kept, restored in zip(first.student.get_weights(), second.student.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, restored)

    network = evaluate.load_network(str(tmp_path / "out.weights.h5"), 0.35)
    for kept, loaded in zip(first.average, network.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, loaded)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_training(pictures: distil.Pictures, teacher_file: Path) -> None:
    distillation = distil.Distillation(teacher_file, seed=3)
    batch = distil.make_batch(pictures, STAGE, seed=3, step=0)
    with pytest.raises(FloatingPointError, match="step 0"):
        distillation.advance(lambda _: np.full(19, np.nan), batch, progress=0.0)


def test_the_shipped_weights_are_small() -> None:
    assert 1_000_000 < len(BUNDLED.read_bytes()) <= 2_500_000
