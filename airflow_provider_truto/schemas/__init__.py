"""JSON Schemas (draft 2020-12) as data files, and the validator that turns mismatches into sentences.

A folder is named ``<model>.<resource>.<method>`` and holds ``path.json``, ``request.json``, ``response.json``.
"""
