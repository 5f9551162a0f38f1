"""Model formats behind one small interface, and the images they look at.

`base` says what a runtime is; `onnx` and `eim` are the runtimes, chosen by a file's
content in `formats`; `images` decodes pictures and `geometry` maps boxes back to them.
Nothing here knows the registry, the database or HTTP.
"""
