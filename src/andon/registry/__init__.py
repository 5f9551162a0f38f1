"""Models and their versions: how a file becomes one, where it is kept, which one serves.

`intake` receives bytes, `registry` keeps files and rows in step, `names` says what a model or
a file may be called. Whether a file really is a model is `serving`'s question.
"""
