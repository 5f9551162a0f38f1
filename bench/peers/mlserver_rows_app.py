"""The tabular model behind MLServer: a custom runtime for its V2 protocol."""

import os

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from score import Scorer


class Score(MLModel):
    """An FP32 tensor of rows in, one of probabilities out."""

    async def load(self) -> bool:
        """Load the model in the worker."""
        self.scorer = Scorer(os.environ["BENCH_MODEL"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Probabilities of the rows."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        output = NumpyCodec.encode_output("probabilities", self.scorer(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
