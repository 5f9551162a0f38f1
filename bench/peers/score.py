"""What a user writes to serve the tabular model elsewhere; imported in the peers' environments."""

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray


class Scorer:
    """The model behind a plain call."""

    def __init__(self, model: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (rows, classes) of float32 (rows, features)."""
        found: NDArray[np.float32] = self.session.run(["probabilities"], {"features": rows})[0]
        return found
