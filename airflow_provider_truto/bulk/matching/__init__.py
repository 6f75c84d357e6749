"""Finding the record of a CRM that a row means, by what both know of it."""
