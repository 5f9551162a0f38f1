"""Loaded versions and the way of one prediction through them.

`engine` is the front. `answering` is the way of one picture, `fleet` holds one `slots.Slot`
per active version and decides what serves at start. `deployment` brings a version from
bytes to serving, `watcher` does so for files dropped into a folder. `annotate`, `batch` and
`compare` are what people do with answers; nothing of that is on the prediction path.
"""
