"""Figures about the sockets, at ``/metrics``."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SOCKETS = Gauge("diemcau_sockets", "Clients connected by Socket.IO")
QUEUED_BYTES = Gauge("diemcau_socket_queued_bytes", "Bytes that connected clients have not read")
CUT_OFF = Counter("diemcau_sockets_cut_off", "Clients cut off since they did not read")
RESYNCS = Counter("diemcau_resyncs", "Snapshots and catch-ups sent", ["how"])
REFUSED = Counter("diemcau_commands_refused", "Commands of sockets refused, by error", ["code"])
SLOWED = Counter("diemcau_commands_slowed", "Commands answered with slow_down before the inbox")
LOOP_DELAY = Histogram(
    "diemcau_loop_delay_seconds",
    "How late the event loop of the web process is, once a second",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
