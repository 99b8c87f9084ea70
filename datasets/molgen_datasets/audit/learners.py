"""What learns to predict a label of items: estimators of scikit-learn by name, or a plugin's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from molgen.errors import PluginError, hint


class Learner(Protocol):
    """Fits numbers of items to labels, and predicts those of others."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        """Learn from items (N, D) with labels (N,)."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The labels of items (N, D), (N,)."""


Factory = Callable[..., Learner]

#: Trees of a forest.
TREES = 100


def forest(classes: bool, seed: int) -> Learner:
    """A random forest (Breiman, Machine Learning 45, 2001): of bits, such as fingerprints."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    cls = RandomForestClassifier if classes else RandomForestRegressor
    return cls(n_estimators=TREES, max_features="sqrt", random_state=seed, n_jobs=1)


def boosting(classes: bool, seed: int) -> Learner:
    """Gradient boosting of trees over histograms: of the cells of tables."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=seed)


def linear(classes: bool, seed: int) -> Learner:
    """Logistic regression, or ridge regression for numbers, over standardised features."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    last = LogisticRegression(max_iter=300, C=0.1, random_state=seed) if classes else Ridge(alpha=10.0)
    return make_pipeline(StandardScaler(), last)


KNOWN: Mapping[str, Factory] = {"forest": forest, "boosting": boosting, "linear": linear}


def factory(name: str) -> Factory:
    """What makes the learner that a domain names: one of those above, or `module:factory`.

    Raises:
        PluginError: there is none.
    """
    if name in KNOWN:
        return KNOWN[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise PluginError(f"no predictor is named {name!r}{hint(name, KNOWN)} Known: {', '.join(KNOWN)}")
    try:
        found: Factory = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"the predictor {name} cannot be imported: {error}") from error
    return found
