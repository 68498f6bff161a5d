"""What validations measure: the likelihood and translations of a translator, the likelihood and links of an aligner."""
