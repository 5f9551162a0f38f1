"""The tabular model behind LitServe: ``python litserve_rows_app.py MODEL PORT``."""

import sys
from typing import Any

import litserve as ls
import numpy as np
from score import Scorer


class Score(ls.LitAPI):
    """A JSON object of numbers in, probabilities out."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe calls it with one
        """Load the model in the worker."""
        self.scorer = Scorer(self._model)

    def decode_request(self, request: dict[str, float]) -> Any:
        """The row as the model's input."""
        return np.array([list(request.values())], np.float32)

    def predict(self, rows: Any) -> Any:
        """Probabilities of one row."""
        return self.scorer(rows)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer as JSON."""
        return {"probabilities": output[0].tolist()}


if __name__ == "__main__":
    path, port = sys.argv[1:3]
    server = ls.LitServer(Score(path), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(port), log_level="warning", generate_client_file=False)
