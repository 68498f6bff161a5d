"""Splits plain text and HTML into sentences, and puts the translations back in their places, with their tags.

The package uses no model: it returns the lines to be translated, and takes translations and word links.
"""
