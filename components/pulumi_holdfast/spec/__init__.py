"""What the user says: frozen, plain data, every problem of a declaration reported at once."""
