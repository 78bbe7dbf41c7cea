"""The studio: keeps what the model answered, row by row."""
