"""What an operator asks of a spool and tells a bridge, whoever carries it: a command, the control socket, the API.

Reading is by a read-only connection (`look.py`); what changes something is a request (`requests.py`).
"""
