"""HTTP: the JSON interface, the dashboard, and who may use them."""
