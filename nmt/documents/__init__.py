"""Texts longer than a line: sentences of a paragraph, tags of HTML, and both put together again after translation.

It knows no model: it gives lines to be translated, and takes translations and links of words.
"""
