"""Sockets and connections: Hypercorn's protocols under our own connection loop. Hypercorn's inner parts end here."""
