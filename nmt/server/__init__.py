"""The translation server: LibreTranslate's HTTP interface, word links and attention, and the page in the browser.

One thread runs the models. Requests of all clients share its batches, and nothing waits with a lock held.
"""
