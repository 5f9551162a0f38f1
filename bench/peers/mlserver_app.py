"""The starter detector behind MLServer: a custom runtime for its V2 protocol."""

import base64
import json
import os

from detect import Detector
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Inspect(MLModel):
    """Base64 JPEG in a BYTES tensor, JSON boxes out."""

    async def load(self) -> bool:
        """Load the model in the worker."""
        self.detector = Detector(
            os.environ["BENCH_MODEL"], int(os.environ.get("BENCH_THREADS", "1"))
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Boxes of one picture."""
        data = base64.b64decode(payload.inputs[0].data.root[0])
        text = json.dumps({"detections": self.detector(data)})
        output = ResponseOutput(name="boxes", shape=[1], datatype="BYTES", data=[text])
        return InferenceResponse(model_name=self.name, outputs=[output])
