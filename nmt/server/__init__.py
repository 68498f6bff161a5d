"""The translation server: LibreTranslate's HTTP interface, word links and attention, and a web page.

One thread runs the models. Its batches hold sentences from requests of all clients. No lock is held while waiting.
"""
