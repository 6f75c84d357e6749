"""JSON Schemas (draft 2020-12) as data files, and the validator that turns mismatches into sentences."""
