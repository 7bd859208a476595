"""The RUL model of a twin type, asked in batches; loaded when it is first asked."""

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from twin_actors.prognostics.artefact import Artefact, load, name_of, path_of

if TYPE_CHECKING:
    import lightgbm


class RulModel:
    """Predicts how long twins will last.

    Parameters
    ----------
    artefact : Artefact

    Attributes
    ----------
    artefact : Artefact
    name : str
        What every prediction is labelled with.
    feature_names : tuple of str
        What is asked with, in this order.
    """

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact
        self.name = artefact.name
        self.feature_names = artefact.features

    @functools.cached_property
    def _ensembles(self) -> tuple["lightgbm.Booster", "lightgbm.Booster"]:
        import lightgbm  # noqa: PLC0415  a second of start-up that workers without a sweep do not need

        return lightgbm.Booster(model_str=self.artefact.estimate), lightgbm.Booster(model_str=self.artefact.spread)

    def predict(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Predict the remaining useful life of some twins.

        Parameters
        ----------
        rows : numpy.ndarray, shape (n, k)
            A row of features for each, NaN where one is unknown.

        Returns
        -------
        numpy.ndarray, shape (n, 3)
            Estimate, lower and upper bound in days: finite, 0 ≤ lower ≤ estimate ≤ upper ≤ `MOST_DAYS`. A row's
            result does not depend on the others.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.feature_names):
            raise ValueError(f"{self.name} takes rows of {len(self.feature_names)} features, got {rows.shape}")
        if not len(rows):
            return np.empty((0, 3))
        target, spread = (np.asarray(one.predict(rows, num_threads=1)) for one in self._ensembles)
        return self.artefact.bounds.days(target, spread)


@functools.cache
def rul_model(type_name: str) -> RulModel | None:
    """Return the RUL model of a twin type, the same at every call; None if it has none."""
    try:
        return RulModel(load(path_of(type_name)))
    except FileNotFoundError:
        return None


def model_faults(type_names: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with the RUL models of some twin types, as far as is seen without asking them."""
    for type_name in type_names:
        try:
            model = rul_model(type_name)
        except (msgspec.MsgspecError, OSError, ValueError) as error:
            yield f"twin type {type_name}: its rul.json cannot be read: {error}; train it again, or restore the file"
            continue
        if model is None:
            continue
        made = model.artefact
        if made.name != name_of(type_name, made.features, made.bounds, made.estimate, made.spread):
            yield f"twin type {type_name}: its rul.json is not as it was made: train it again, or restore the file"
