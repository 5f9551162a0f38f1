"""The JSON interface: one module per resource, each with a `router(platform)`."""
