"""Validations: the likelihood and the translations of a translator, the likelihood and the links of an aligner."""
