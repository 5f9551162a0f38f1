"""The floor: factory events and eye telemetry, from the bytes that arrive to the numbers.

Knows the store and nothing beside it. What comes by HTTP, MQTT or the command line goes
through `intake`, so that an event means the same whatever way it came.
"""
