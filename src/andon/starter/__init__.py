"""Package data: the starter detector `pcb` (ONNX) and its model card."""
