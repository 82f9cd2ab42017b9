"""The media worker: pure ideas with plain integers, the process with real peers."""
