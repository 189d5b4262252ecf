"""Trains the small encoder that the project ships, from random weights, by distillation.

A MobileNetV2 of alpha 0.35 (the student) starts from random weights and learns to compute what a teacher of
the same architecture computes, on the same pixels: at the end of every block, on the last feature map, and on
the pooled features, which are compared in units of their spread. Labels are never used. Run it with
`python -m fruits_pipeline.encoders.distil --images DIR --teacher FILE.h5 --output FILE --minutes M --seed S`;
a killed run that is started again with the same arguments continues from its checkpoint.
"""

import argparse
import contextlib
import itertools
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fruits_pipeline.encoders.evaluate import read_photographs
from fruits_pipeline.images import SIZE, scaled

logger = logging.getLogger(__name__)

Rng = np.random.Generator
Array = np.ndarray


@dataclass(frozen=True)
class Stage:
    """One part of the training.

    Attributes:
        until: Share of the time budget (0 … 1) at which the stage ends.
        edge: Edge of the pictures in pixels; a multiple of 32, so that every stride divides evenly.
        batch: Pictures per step.
        blockwise: Whether each block is given the teacher's input instead of the output of the block before,
            so that all blocks learn at once from correct inputs.
        plain: Share of the pictures that are photographs as they are.
    """

    until: float
    edge: int
    batch: int
    blockwise: bool
    plain: float


STAGES = (
    Stage(until=0.35, edge=96, batch=32, blockwise=True, plain=0.25),
    Stage(until=0.80, edge=128, batch=32, blockwise=False, plain=0.25),
    Stage(until=1.00, edge=224, batch=16, blockwise=False, plain=0.35),
)

PEAK_RATE = 2e-3
LAST_RATE = 2e-5
WARM_UP_STEPS = 200
FAR = 10**9
"""Batches that are no training steps are numbered from here."""

AVERAGING = 0.998
MAP_WEIGHT = 4.0
POOLED_WEIGHT = 4.0
FLOOR = 0.05
"""Share of the mean variance that is added to each channel's, so that dead channels do not rule the loss."""


# -------------------------------------------------------------------------------- pictures


@dataclass(frozen=True)
class Pictures:
    """What training pictures are made of.

    Attributes:
        photographs: (n, 224, 224, 3) uint8, as the encoder sees them.
        rendered: (m, 224, 224, 3) uint8, synthetic fruit; m may be 0.
    """

    photographs: Array
    rendered: Array


RENDERED_SHARE = 0.35


def render_pictures(count: int, seed: int) -> Array:
    """Renders wildly varied synthetic fruit, enlarged like the photographs: (count, 224, 224, 3) uint8."""
    from fruits_pipeline.rendering import render_random

    rng = np.random.default_rng(seed)
    images = [render_random(rng, 100).convert("RGB") for _ in range(count)]
    resized = [np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for image in images]
    return np.stack(resized) if resized else np.zeros((0, SIZE, SIZE, 3), np.uint8)


def make_batch(pictures: Pictures, stage: Stage, seed: int, step: int) -> Array:
    """Makes the batch of one step; the same seed and step give the same pixels.

    Args:
        pictures: Raw material.
        stage: Says how large, how many and how plain.
        seed: Seed of the run.
        step: Number of the step.

    Returns:
        (batch, edge, edge, 3) float32 in -1 … 1.
    """
    rng = np.random.default_rng((seed, step))
    batch = np.stack([_one_picture(pictures, stage, rng) for _ in range(stage.batch)])
    inputs: Array = scaled(batch.astype(np.float32))
    return inputs


def _one_picture(pictures: Pictures, stage: Stage, rng: Rng) -> Array:
    if rng.random() < stage.plain:
        return plain_view(_pick(pictures.photographs, rng), stage.edge, rng)
    return augmented_view(pictures, stage.edge, rng)


def _pick(images: Array, rng: Rng) -> Array:
    return np.asarray(images[rng.integers(len(images))])


def plain_view(image: Array, edge: int, rng: Rng) -> Array:
    """The photograph itself: whole, or below full size a window of it or the whole picture made smaller.

    Windows keep the scale of what a layer sees at full size, which is why most small views are windows.

    Args:
        image: (224, 224, 3) uint8.
        edge: Of the view, in pixels.
        rng: Source of chance.

    Returns:
        (edge, edge, 3) float32, 0 … 255.
    """
    if edge == len(image):
        return image.astype(np.float32)
    if rng.random() < 0.25:
        return np.asarray(Image.fromarray(image).resize((edge, edge), Image.Resampling.BICUBIC), np.float32)
    top, left = rng.integers(0, len(image) - edge + 1, size=2)
    return image[top : top + edge, left : left + edge].astype(np.float32)


def augmented_view(pictures: Pictures, edge: int, rng: Rng) -> Array:
    """A picture far from the photographs: moved, recoloured, pasted together, blurred or noisy.

    Args:
        pictures: Raw material.
        edge: Of the view, in pixels.
        rng: Source of chance.

    Returns:
        (edge, edge, 3) float32, 0 … 255.
    """
    view = _varied(pictures, edge, rng)
    mixing = rng.random()
    if mixing < 0.15:
        share = rng.uniform(0.3, 0.7)
        view = share * view + (1 - share) * _varied(pictures, edge, rng)
    elif mixing < 0.35:
        view = paste_window(view, _varied(pictures, edge, rng), rng)
    if rng.random() < 0.12:
        view = blur(view, rng)
    if rng.random() < 0.12:
        view = view + rng.normal(0, rng.uniform(2, 25), view.shape)
    return np.asarray(np.clip(np.rint(view), 0, 255), np.float32)


def _varied(pictures: Pictures, edge: int, rng: Rng) -> Array:
    """One picture, moved and perhaps recoloured and put on another background."""
    if rng.random() < 0.04:
        return recolour(texture(edge, rng), rng)
    rendered = len(pictures.rendered) > 0 and rng.random() < RENDERED_SHARE
    view = move(_pick(pictures.rendered if rendered else pictures.photographs, rng), edge, rng)
    if rng.random() < 0.25:
        view = replace_background(view, rng)
    return recolour(view, rng) if rng.random() < 0.8 else view


def move(image: Array, edge: int, rng: Rng) -> Array:
    """Rotates, mirrors, zooms, squeezes and shifts; what lies outside is white, as in the photographs.

    Args:
        image: (224, 224, 3) uint8.
        edge: Of the view, in pixels.
        rng: Source of chance.

    Returns:
        (edge, edge, 3) float32, 0 … 255.
    """
    angle = rng.uniform(-math.pi, math.pi) if rng.random() < 0.7 else 0.0
    # Source pixels per target pixel: a small view is a window at the photograph's own scale, or the whole.
    whole = len(image) / edge if rng.random() < 1 / 3 else 1.0
    zoom = math.exp(rng.uniform(math.log(0.55), math.log(1.5))) * whole
    squeeze = math.exp(rng.uniform(-0.25, 0.25))
    mirror = rng.choice([-1.0, 1.0])
    cosine, sine = math.cos(angle) * zoom, math.sin(angle) * zoom
    a, b, d, e = cosine * squeeze * mirror, -sine, sine * squeeze * mirror, cosine
    centre = len(image) / 2 + rng.uniform(-0.3, 0.3, size=2) * len(image)
    matrix = (a, b, centre[0] - (a + b) * edge / 2, d, e, centre[1] - (d + e) * edge / 2)
    moved = Image.fromarray(image).transform(
        (edge, edge), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255)
    )
    return np.asarray(moved, np.float32)


def recolour(view: Array, rng: Rng) -> Array:
    """Changes hue, saturation, contrast, brightness and gamma; sometimes swaps the channels or inverts them.

    Args:
        view: (edge, edge, 3) float32, 0 … 255.
        rng: Source of chance.

    Returns:
        The same shape, 0 … 255.
    """
    strength = rng.choice([0.15, 1.0])  # half of the changes are small: photographs under another light
    mixing = _hue_matrix(rng.uniform(-math.pi, math.pi) * strength, 1 + rng.uniform(-1, 0.8) * strength)
    if strength == 1.0 and rng.random() < 0.4:
        mixing = mixing[rng.permutation(3)]
    contrast, brightness = 1 + rng.uniform(-0.5, 0.3) * strength, rng.uniform(-0.25, 0.15) * strength
    gamma = math.exp(rng.uniform(-0.5, 0.5) * strength)
    colours = (view.reshape(-1, 3) @ mixing.T.astype(np.float32)) * np.float32(contrast / 255)
    colours = np.clip(colours + np.float32(1 - contrast + brightness), 0, 1) ** gamma  # white stays nearly white
    if strength == 1.0 and rng.random() < 0.06:
        colours = 1 - colours
    return np.asarray(colours.reshape(view.shape) * 255, np.float32)


def _hue_matrix(angle: float, saturation: float) -> Array:
    """(3, 3) matrix that turns colours around the gray axis and scales their distance from it."""
    cosine, sine = math.cos(angle), math.sin(angle)
    gray = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return np.asarray(gray + saturation * (cosine * (np.eye(3) - gray) + sine * cross))


def replace_background(view: Array, rng: Rng) -> Array:
    """Puts a colour or a texture where the picture is nearly white: (edge, edge, 3) float32 to the same."""
    share = np.clip((view.min(axis=2, keepdims=True) - 215) / 30, 0, 1)
    plain = np.broadcast_to(rng.uniform(0, 255, 3).astype(np.float32), view.shape)
    background = plain if rng.random() < 0.5 else texture(len(view), rng)
    return np.asarray(share * background + (1 - share) * view, np.float32)


def texture(edge: int, rng: Rng) -> Array:
    """Random blotches of a random fineness: (edge, edge, 3) float32, 0 … 255."""
    cells = int(2 ** rng.uniform(1, math.log2(edge / 2)))
    coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    method = rng.choice([Image.Resampling.BICUBIC, Image.Resampling.NEAREST])
    return np.asarray(Image.fromarray(coarse).resize((edge, edge), Image.Resampling(method)), np.float32)


def paste_window(view: Array, other: Array, rng: Rng) -> Array:
    """Replaces a random rectangle of a view by the same rectangle of another: (edge, edge, 3) float32."""
    height, width = (rng.uniform(0.25, 0.75, 2) * len(view)).astype(int)
    top, left = rng.integers(0, len(view) - height), rng.integers(0, len(view) - width)
    pasted = view.copy()
    pasted[top : top + height, left : left + width] = other[top : top + height, left : left + width]
    return pasted


def blur(view: Array, rng: Rng) -> Array:
    """Shrinks and enlarges again: (edge, edge, 3) float32, 0 … 255, to the same."""
    small = int(len(view) * rng.uniform(0.25, 0.7))
    image = Image.fromarray(np.clip(view, 0, 255).astype(np.uint8))
    shrunk = image.resize((small, small), Image.Resampling.BILINEAR)
    return np.asarray(shrunk.resize((len(view), len(view)), Image.Resampling.BICUBIC), np.float32)


@contextlib.contextmanager
def prefetched(make: Callable[[int], Array], first_step: int) -> Iterator[Callable[[], Array]]:
    """Makes batches in a thread, a few ahead of the training.

    Args:
        make: Makes the batch of a step.
        first_step: Where to start.

    Yields:
        A function that returns the next batch, in order.
    """
    ready: queue.Queue[Array | BaseException] = queue.Queue(maxsize=4)
    stopped = threading.Event()

    def work() -> None:
        step = first_step
        while not stopped.is_set():
            try:
                item: Array | BaseException = make(step)
            except Exception as error:  # handed to the training, which raises it
                item = error
            while not stopped.is_set():
                with contextlib.suppress(queue.Full):
                    ready.put(item, timeout=0.2)
                    break
            step += 1

    def take() -> Array:
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield take
    finally:
        stopped.set()
        thread.join()


# -------------------------------------------------------------------------------- networks

RESIDUAL = (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)
HINTS = (
    "expanded_conv_project_BN",
    *(f"block_{block}_add" if block in RESIDUAL else f"block_{block}_project_BN" for block in range(1, 17)),
    "out_relu",
)
"""Layers whose output the student imitates: the end of each of the 17 blocks, and the last feature map."""


def build_segments(network: Any) -> list[Any]:
    """Cuts a MobileNetV2 at its hints into 18 Keras models that share its weights."""
    import keras

    cuts = [network.input, *(network.get_layer(name).output for name in HINTS)]
    return [keras.Model(before, after) for before, after in itertools.pairwise(cuts)]


def build_mobilenet(edge: int | None) -> Any:
    """MobileNetV2 alpha 0.35, no top, average-pooled, random weights; `edge` None: any multiple of 32."""
    import keras

    return keras.applications.MobileNetV2(
        input_shape=(edge, edge, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )


def initialise_statistics(network: Any, batch: Array) -> None:
    """Sets each BatchNorm's mean and variance to those of one batch, and leaves them there for good.

    With statistics that never move, training and inference compute the same function, and a step takes two
    thirds of the time; the trained scale and shift do the rest.
    """
    import keras

    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    network(batch, training=True)
    for layer, momentum in zip(layers, kept, strict=True):
        layer.momentum = momentum


@dataclass(frozen=True)
class Scales:
    """The teacher's spread, in which errors are measured.

    Attributes:
        hints: For each hint, (channels,) float32: variance of a channel over pictures and places.
        pooled: (1280,) float32: variance of a pooled feature over plain photographs.
    """

    hints: list[Array]
    pooled: Array


def measure_scales(teacher: list[Any], batches: Sequence[Array], plain: Sequence[Array]) -> Scales:
    """Measures the teacher's variance: hints on augmented batches, pooled features on plain photographs."""
    moments = [[_moments(np.asarray(hint)) for hint in run_segments(teacher, batch)] for batch in batches]
    hints = [_variance(list(each)) for each in zip(*moments, strict=True)]
    pooled = np.concatenate([np.asarray(run_segments(teacher, batch)[-1]).mean(axis=(1, 2)) for batch in plain])
    return Scales([with_floor(each) for each in hints], with_floor(pooled.var(axis=0)))


def _moments(values: Array) -> Array:
    return np.stack([values.mean(axis=(0, 1, 2)), np.square(values).mean(axis=(0, 1, 2))])


def _variance(moments: list[Array]) -> Array:
    mean, square = np.mean(moments, axis=0)
    return np.asarray(square - mean**2)


def with_floor(variance: Array) -> Array:
    """Adds a share of the mean to each variance: (channels,) to (channels,) float32."""
    return np.asarray(variance + FLOOR * variance.mean(), np.float32)


def distillation_losses(student: list[Any], teacher: list[Any], scales: Scales) -> Any:
    """Compares student and teacher.

    Args:
        student: 18 outputs (batch, height, width, channels) float32.
        teacher: The same of the teacher.
        scales: The teacher's spread.

    Returns:
        (19,) float32: unexplained share of the variance for each hint, then for the pooled features (linear
        for large errors, so that pictures far from the photographs do not rule).
    """
    import tensorflow as tf

    pairs = zip(student, teacher, scales.hints, strict=True)
    shares = [tf.reduce_mean(tf.math.squared_difference(one, two) / scale) for one, two, scale in pairs]
    gap = tf.reduce_mean(student[-1], (1, 2)) - tf.reduce_mean(teacher[-1], (1, 2))
    pooled = tf.reduce_mean(2 * (tf.sqrt(1 + tf.square(gap) / scales.pooled) - 1))
    return tf.stack([*shares, pooled])


def loss_weights() -> Array:
    """(19,) float32: 1 for each block, more for the last map and the pooled features."""
    return np.array([1.0] * (len(HINTS) - 1) + [MAP_WEIGHT, POOLED_WEIGHT], np.float32)


# -------------------------------------------------------------------------------- training


def learning_rate(step: int, progress: float) -> float:
    """Warm-up over the first steps, then a cosine over the time budget (progress 0 … 1)."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine)


class Distillation:
    """A student, its optimiser, the running average of its weights, and how far the training is.

    Attributes:
        step: Steps done.
        seconds: Training time used, over all restarts.
        pictures_seen: Pictures shown.
    """

    def __init__(self, teacher_file: Path, seed: int) -> None:
        """Builds teacher and student; the student's weights are random and follow from the seed."""
        import keras

        self._teacher = build_mobilenet(None)
        self._teacher.load_weights(teacher_file)
        keras.utils.set_random_seed(seed)
        self.student = build_mobilenet(None)
        self._optimizer = keras.optimizers.Adam(PEAK_RATE, clipnorm=5.0)
        self._optimizer.build(self.student.trainable_variables)
        self.average = [np.array(array) for array in self.student.get_weights()]
        self._scales = Scales([], np.zeros(0))
        self.step, self.seconds, self.pictures_seen = 0, 0.0, 0

    def measure(self, batches: Sequence[Array], plain: Sequence[Array]) -> None:
        """Measures the teacher's spread on augmented batches and on plain photographs, scaled to -1 … 1."""
        self._scales = measure_scales(build_segments(self._teacher), batches, plain)

    def initialise(self, batch: Array) -> None:
        """Sets the fresh student's BatchNorm statistics to those of one batch."""
        initialise_statistics(self.student, batch)
        self.average = [np.array(array) for array in self.student.get_weights()]

    def compile_step(self, blockwise: bool) -> Callable[[Array], Any]:
        """Makes the function of one step: a batch in, (19,) losses out."""
        import tensorflow as tf

        teacher, student = build_segments(self._teacher), build_segments(self.student)
        variables, weights = self.student.trainable_variables, loss_weights()

        def run(batch: Any) -> Any:
            wanted = [tf.stop_gradient(hint) for hint in run_segments(teacher, batch)]
            with tf.GradientTape() as tape:
                given = run_segments(student, batch, wanted if blockwise else None)
                losses = distillation_losses(given, wanted, self._scales)
                total = tf.reduce_sum(losses * weights)
            self._optimizer.apply(tape.gradient(total, variables), variables)
            return losses

        compiled: Callable[[Array], Any] = tf.function(run)
        return compiled

    def advance(self, run: Callable[[Array], Any], batch: Array, progress: float) -> Array:
        """Does one step and returns its (19,) losses."""
        self._optimizer.learning_rate.assign(learning_rate(self.step, progress))
        losses = np.asarray(run(batch))
        if not np.isfinite(losses).all():
            raise FloatingPointError(f"The loss is not finite in step {self.step}: {losses}.")
        keep = min(AVERAGING, (self.step + 1) / (self.step + 10))
        for kept, array in zip(self.average, self.student.get_weights(), strict=True):
            kept += (1 - keep) * (array - kept)
        self.step += 1
        self.pictures_seen += len(batch)
        return losses

    def save(self, output: Path, checkpoint: Path) -> None:
        """Writes the averaged weights for use, and everything that a restart needs."""
        export_weights(self.average, output)
        momenta = [np.asarray(variable) for variable in self._optimizer.variables]
        arrays = [*self.student.get_weights(), *self.average, *momenta]
        progress = np.array([self.step, self.seconds, self.pictures_seen], np.float64)
        partial = checkpoint.with_name(checkpoint.name + ".partial.npz")
        np.savez(partial, progress, *arrays)
        partial.replace(checkpoint)

    def restore(self, checkpoint: Path) -> None:
        """Continues where `save` left off."""
        with np.load(checkpoint) as stored:
            progress, *arrays = [stored[f"arr_{number}"] for number in range(len(stored.files))]
        count = len(self.average)
        self.student.set_weights(arrays[:count])
        self.average = [np.array(array) for array in arrays[count : 2 * count]]
        for variable, array in zip(self._optimizer.variables, arrays[2 * count :], strict=True):
            variable.assign(array)
        self.step, self.seconds, self.pictures_seen = int(progress[0]), float(progress[1]), int(progress[2])


def run_segments(segments: list[Any], batch: Any, inputs: list[Any] | None = None) -> list[Any]:
    """Runs the segments one after another in inference mode.

    Args:
        segments: From `build_segments`.
        batch: (batch, edge, edge, 3) float32 in -1 … 1.
        inputs: If given, the hints that each next segment gets instead of the output before it.

    Returns:
        The 18 outputs.
    """
    outputs = [segments[0](batch, training=False)]
    for number, segment in enumerate(segments[1:]):
        before = outputs[-1] if inputs is None else inputs[number]
        outputs.append(segment(before, training=False))
    return outputs


def export_weights(arrays: Sequence[Array], output: Path) -> None:
    """Writes a Keras weights file that the plain 224-pixel MobileNetV2 loads."""
    network = build_mobilenet(SIZE)
    network.set_weights(list(arrays))
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name("partial." + output.name)
    network.save_weights(partial)
    partial.replace(output)


def prepare(pictures: Pictures, asked: argparse.Namespace) -> Distillation:
    """Makes the distillation ready for its next step, be it the first or one after a restart."""
    stage = Stage(until=0, edge=SIZE, batch=32, blockwise=False, plain=0.25)
    batches = [make_batch(pictures, stage, asked.seed, FAR + number) for number in range(8)]
    count = len(pictures.photographs)
    some = np.linspace(0, count - 1, min(512, count)).astype(int)
    parts = [pictures.photographs[part] for part in np.array_split(some, math.ceil(len(some) / 32))]
    distillation = Distillation(asked.teacher, asked.seed)
    distillation.measure(batches, [scaled(part.astype(np.float32)) for part in parts])
    if asked.checkpoint.is_file():
        distillation.restore(asked.checkpoint)
    else:
        distillation.initialise(batches[0])
    return distillation


def train(distillation: Distillation, pictures: Pictures, asked: argparse.Namespace) -> None:
    """Goes through the stages until the time is used up."""
    for stage in STAGES:
        if distillation.seconds < stage.until * asked.minutes * 60:
            train_stage(distillation, pictures, stage, asked)
            distillation.save(asked.output, asked.checkpoint)


def train_stage(distillation: Distillation, pictures: Pictures, stage: Stage, asked: argparse.Namespace) -> None:
    """Trains until the stage's share of the time is used, saving every few minutes."""
    budget = asked.minutes * 60
    run = distillation.compile_step(stage.blockwise)
    saved = now = time.monotonic()
    recent: list[Array] = []
    with prefetched(lambda step: make_batch(pictures, stage, asked.seed, step), distillation.step) as take:
        while distillation.seconds < stage.until * budget:
            recent.append(distillation.advance(run, take(), distillation.seconds / budget))
            before, now = now, time.monotonic()
            distillation.seconds += now - before
            if distillation.step % 100 == 0:
                report(distillation, recent)
                recent.clear()
            if now - saved > asked.save_every * 60:
                distillation.save(asked.output, asked.checkpoint)
                saved = now


def report(distillation: Distillation, recent: list[Array]) -> None:
    """Logs the mean losses of the last steps."""
    losses = np.mean(recent, axis=0)
    logger.info(
        "step %d, %.1f min, %d pictures: unexplained share of blocks %s, last map %.3f, pooled %.3f",
        distillation.step,
        distillation.seconds / 60,
        distillation.pictures_seen,
        " ".join(f"{loss:.3f}" for loss in losses[:-2]),
        losses[-2],
        losses[-1],
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m fruits_pipeline.encoders.distil", description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="photographs, one sub-folder per kind")
    add("--teacher", type=Path, required=True, help="Keras weights of MobileNetV2 alpha 0.35 without top")
    add("--output", type=Path, required=True, help="weights file to write (.weights.h5)")
    add("--minutes", type=float, default=60.0, help="time to train")
    add("--seed", type=int, default=0, help="of the student's first weights and of all pictures")
    add("--exclude", nargs="*", default=[], metavar="KIND", help="kinds to keep out of the training")
    add("--rendered", type=int, default=2000, help="synthetic pictures to render")
    add("--checkpoint", type=Path, help="where a restart continues (default: beside the output)")
    add("--save-every", type=float, default=4.0, help="minutes between checkpoints")
    parsed = parser.parse_args(arguments)
    parsed.checkpoint = parsed.checkpoint or parsed.output.with_name(parsed.output.name + ".checkpoint.npz")
    return parsed


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains a student and leaves its weights in the output file."""
    from fruits_pipeline.encoders.keras_network import import_keras

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import_keras()
    asked = parse_arguments(arguments)
    photographs = read_photographs(asked.images, asked.exclude)
    pictures = Pictures(photographs.pixels, render_pictures(asked.rendered, asked.seed))
    logger.info("%d photographs, %d rendered pictures", len(pictures.photographs), len(pictures.rendered))
    distillation = prepare(pictures, asked)
    train(distillation, pictures, asked)
    logger.info("%d steps, %d pictures", distillation.step, distillation.pictures_seen)


if __name__ == "__main__":
    main()
