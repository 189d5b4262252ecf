"""Seeded synthetic fruit photographs: training material, and the bundled sample."""

from fruits_pipeline.rendering.kinds import KINDS, render_fruit
from fruits_pipeline.rendering.sample import LABELS, write_images, write_sample
from fruits_pipeline.rendering.wild import render_random

__all__ = ["KINDS", "LABELS", "render_fruit", "render_random", "write_images", "write_sample"]
