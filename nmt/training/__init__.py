"""One loop: next batch, step, maybe log, maybe validate, maybe save."""
