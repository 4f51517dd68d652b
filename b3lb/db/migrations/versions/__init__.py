"""One module per schema version; none is changed after its release."""
