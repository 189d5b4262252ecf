"""Which earlier fit projects the images of now."""

import logging
from dataclasses import replace

from fruits_pipeline.datasets.fits import KeptFit
from fruits_pipeline.encoders.card import Encoder
from fruits_pipeline.errors import InputError
from fruits_pipeline.fits import Fit
from fruits_pipeline.parameters import ApplyParameters
from fruits_pipeline.workers.summaries import Summary, named

logger = logging.getLogger(__name__)


def choose_fit(
    kept_fits: list[KeptFit], kept_projection: Summary, encoder: Encoder, parameters: ApplyParameters
) -> Fit:
    """Takes an earlier fit, so that the axes of new projections are those of the old ones.

    Args:
        kept_fits: All fits so far.
        kept_projection: What is in `reduced_features` as it stands. Its rows name the fit in use: the latest fit may be
            that of a run which died before it projected anything.
        encoder: The encoder of this run.
        parameters: The fit's name, or none for the one in use.

    Returns:
        The fit, from now on the one in use.

    Raises:
        InputError: If there is no such fit, or it was made of another encoder's features.
    """
    wanted = parameters.fit or fit_in_use(kept_fits, kept_projection)
    chosen = [kept for kept in kept_fits if kept.card.fit == wanted]
    if not chosen:
        known = ", ".join(f"{kept.card.fit} of run {kept.card.run_id}" for kept in kept_fits) or "none"
        raise InputError(
            f"There is no fit {parameters.fit or 'yet'}. Known: {known}. Make one with kedro run, or name a known one "
            "with --params=apply.fit=FIT."
        )
    card = chosen[0].card
    if card.encoder != encoder.card.fingerprint:
        raise InputError(
            f"Fit {card.fit} is of features of encoder {card.encoder}; this run's is {encoder.card.summary}. Give the "
            "encoder.… parameters with which the fit was made, or make a new fit with kedro run."
        )
    logger.info("Fit %s of run %s: %d components of %d images", card.fit, card.run_id, card.n_components, card.n_images)
    fit = chosen[0].load()
    return replace(fit, card=replace(card, compared={}))


def fit_in_use(kept_fits: list[KeptFit], kept_projection: Summary) -> str | None:
    """Name of the fit that made the projection; where there is no row, of the latest fit."""
    made_it = max(named(kept_projection, "fit"), default=None)
    return made_it or next((kept.card.fit for kept in kept_fits if kept.is_current), None)
