"""The Quart app: what the HTTP port and the metrics port answer. It knows the intake, and no sockets."""
