"""Error rates of presentation attack detection, ISO/IEC 30107-3. Owns the formulas only."""

import numpy as np


def rates(scores: np.ndarray, real: np.ndarray, threshold: float) -> tuple[float, float]:
    """APCER and BPCER: shares of the attacks let through and of the real faces refused; NaN without any."""
    share = lambda wrong: float(wrong.mean()) if len(wrong) else float("nan")
    return share(scores[~real] >= threshold), share(scores[real] < threshold)


def acer(apcer: float, bpcer: float) -> float:
    """Mean of both."""
    return (apcer + bpcer) / 2


def equal_error(scores: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Threshold where APCER and BPCER are nearest, and their mean there."""
    candidates = np.unique(scores)
    pairs = [rates(scores, real, t) for t in candidates]
    best = int(np.argmin([abs(a - b) for a, b in pairs]))
    return float(candidates[best]), acer(*pairs[best])
