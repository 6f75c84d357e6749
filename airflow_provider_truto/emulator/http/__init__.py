"""HTTP: the server, requests and responses as values, and what may go wrong with them on the wire."""
