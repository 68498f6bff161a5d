"""The same numbers as nmt.model, faster."""
