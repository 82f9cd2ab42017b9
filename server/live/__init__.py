"""The socket: who is connected, what they send, what they hear. Decides nothing: see the inbox."""
