"""An app that does not import its receivers in ``ready()``."""
