"""Triggers: what waits in the triggerer, and holds no worker."""
