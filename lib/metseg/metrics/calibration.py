"""A score turned into a probability by a logistic fit."""

import numpy as np


def fit_logistic(scores: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Fits P = 1 / (1 + exp(−slope · score − intercept)) to what turned out to be real.

    The targets are Platt's, (r + 1) / (r + 2) for the r real ones and 1 / (f + 2) for the f others, so that
    few or perfectly separated ones do not give certainty.

    Args:
        scores: (N,) float, such as the logit of a probability.
        real: (N,) bool, with some of either kind.

    Returns:
        slope and intercept.

    Reference:
        Platt (1999), Probabilistic outputs for support vector machines, section 2.2.
    """
    from scipy.optimize import minimize

    count = real.sum()
    target = np.where(real, (count + 1) / (count + 2), 1 / (len(real) - count + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] * scores + parameters[1]
        excess = 0.5 * (1 + np.tanh(z / 2)) - target  # the logistic function, without overflow
        return np.sum(np.logaddexp(0, z) - target * z), np.array([excess @ scores, excess.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS")
    return float(found.x[0]), float(found.x[1])
