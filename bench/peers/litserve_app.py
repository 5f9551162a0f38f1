"""The starter detector behind LitServe: ``python litserve_app.py MODEL PORT WORKERS THREADS``."""

import sys
from typing import Any

import litserve as ls
from detect import Detector
from fastapi import Request


class Inspect(ls.LitAPI):
    """Multipart JPEG in, JSON boxes out."""

    def __init__(self, model: str, threads: int) -> None:
        super().__init__()
        self._model = model
        self._threads = threads

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe calls it with one
        """Load the model in the worker."""
        self.detector = Detector(self._model, self._threads)

    def decode_request(self, request: Request) -> bytes:
        """The bytes of the uploaded picture."""
        data: bytes = request["image"].file.read()
        return data

    def predict(self, data: bytes) -> list[dict[str, Any]]:
        """Boxes of one picture."""
        return self.detector(data)

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        """The answer as JSON."""
        return {"detections": output}


if __name__ == "__main__":
    path, port, workers, threads = sys.argv[1:5]
    server = ls.LitServer(
        Inspect(path, int(threads)), accelerator="cpu", workers_per_device=int(workers)
    )
    server.run(host="127.0.0.1", port=int(port), log_level="warning", generate_client_file=False)
