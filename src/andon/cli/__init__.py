"""The terminal: every operation a person does over HTTP, and the ones before there is a server.

One file per command or group of commands. A command reads its arguments, calls the room that
does the work and shows the answer; it holds no logic of its own. What is shared stands in
`options` (arguments), `opening` (settings and platform) and `output` (tables, JSON, messages).

Modules here import rooms inside functions: SQLAlchemy, NumPy and ONNX Runtime cost a second on
an edge box, and `andon --help` must not pay for them.
"""
