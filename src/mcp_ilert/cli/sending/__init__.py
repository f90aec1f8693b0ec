"""How `send` reads events, sends them, and counts what became of them."""
