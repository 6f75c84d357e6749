"""Truto over requests and over aiohttp."""
