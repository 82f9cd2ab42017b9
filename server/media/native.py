"""The compiled code (the ``*.c`` beside this), where ``setup.py`` could build it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from cffi import FFI  # type: ignore[import-untyped]

from server import native

VERSION = 19
"""of the compiled code that belongs to these declarations"""
_DECLARATIONS = """
struct stream { void *srtp, *seal; const uint8_t *head; const void *address; void *flight;
                uint32_t timestamp_shift; uint16_t number_shift, head_size, transport_at,
                address_size; uint8_t payload_type; };
unsigned long diemcau_queue_bytes(void);
void diemcau_open(void *queue, int fd, int offload, void *protect);
uint64_t diemcau_dropped(const void *queue);
void diemcau_flush(void *queue);
void diemcau_fan(void *queue, const struct stream *const *, int streams,
                 const uint8_t *packets, const uint8_t *payloads, int count, double now_s);

struct ciphers { void *init, *update, *finish, *control; };
unsigned long diemcau_seal_bytes(void);
int diemcau_seal_open(void *seal, const struct ciphers *, void *context, const void *cipher,
                      const uint8_t *key, const uint8_t *salt);
int diemcau_seal(void *seal, uint8_t *packet, int head_size, const uint8_t *payload, int size);

struct allowance { double rate_per_s, burst, left, at_s; };
struct limit { struct allowance packets, octets; };
struct relay { const struct stream *const *stream; struct limit *limit; int32_t streams;
               uint8_t armed; uint16_t highest; };
int diemcau_take(struct limit *, int size, double now_s);
struct known_stream { uint32_t ssrc; uint8_t payload_type, rid_size; uint8_t rid[16];
                      struct relay *relay; };
struct came { double at_s; uint32_t transport, nothing; };
struct inlet { void *srtp, *ear; int32_t streams, transport_id, level_id, rid_id, layers_id;
               uint16_t transport;
               struct known_stream stream[8];
               int32_t ssrcs; uint32_t ssrc[1024]; int32_t count; struct came came[512]; };
unsigned long diemcau_arrivals_bytes(void);
void diemcau_arrivals_open(void *arrivals, int fd, void *unprotect, void *unprotect_rtcp,
                           uint8_t **rows, uint8_t **addresses, uint8_t **data);
int diemcau_lead(void *arrivals, const uint8_t *address, int size, struct inlet *, uint32_t number);
void diemcau_tidy(void *arrivals);
int diemcau_receive(void *arrivals, double now_s);
int diemcau_is_behind(const void *arrivals);
struct pace { double rest_s, often_s, woken_s, before_s; };
int diemcau_rest(void *arrivals, struct pace *, int epoll, int fd, double end_s, double due_s);
unsigned long diemcau_ledger_bytes(void);
void diemcau_arrivals_relay(void *arrivals, void *queue, void *ledger, uint8_t **entries,
                            uint8_t **data);
void diemcau_read_packet(const struct inlet *, const uint8_t *data, int size, void *row);

struct state { double unheard_since_s, queue_s, floor_s, rise_s, newest_sent_s;
               int64_t arrived_bytes; int32_t arrived, lost, total;
               uint8_t overused, draining; };
unsigned long diemcau_flight_bytes(void);
struct state *diemcau_flight_open(void *flight);
uint16_t diemcau_sent(void *flight, int size, double now_s);
void diemcau_count_anew(void *flight);
void diemcau_rebase(void *flight);
int diemcau_hear(void *flight, const uint8_t *fci, int size, int anew);
int64_t diemcau_arrived_within(const void *flight, double seconds);
int64_t diemcau_sent_within(const void *flight, double seconds);

struct estimate { double rtt_s; int64_t estimate_bps, delivered_bps, link_bps, blind_bps, lost, counted;
                  int32_t reason; uint8_t heard, silent; };
unsigned long diemcau_estimator_bytes(void);
struct estimate *diemcau_estimator_open(void *estimator, void *flight, double now_s);
int diemcau_report(void *estimator, const uint8_t *fci, int size, double now_s);
double diemcau_loss(const void *estimator);
void diemcau_tick(void *estimator, double now_s);
int64_t diemcau_probe(void *estimator, int64_t wanted_bps, double now_s);

struct ear { void *estimator; const uint8_t *told; double left, at_s; uint32_t packets; };
int diemcau_listen(struct ear *, const uint8_t *packet, int size, double now_s);
"""


@functools.cache
def library() -> tuple[FFI, Any] | None:
    """The compiled code, None where it was not built."""
    return native.load(Path(__file__).parent, "_forward", _DECLARATIONS, VERSION)
