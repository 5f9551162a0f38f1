"""Programs for developers; `make` calls them."""
