"""Training models of rows, from a recipe to an ONNX file, in a process of its own."""
