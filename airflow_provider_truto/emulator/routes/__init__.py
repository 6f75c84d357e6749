"""The routes of the API: one module per family, and `dispatch` in front of them."""
