/* relay.c, as receive.c takes it. */
#include <stdint.h>

#define DATAGRAM_BYTES 2048 /* what is longer is cut, as recvfrom does */
#define LEDGER_ENTRIES 1024
#define LEDGER_BYTES (1 << 20)
#define MAX_RELAYED 128

struct row { /* about one datagram; what reading.ROW unpacks */
    uint32_t place;
    uint16_t size, address_size;
    uint8_t kind, first; /* the first one over its address in this batch */
    uint16_t age; /* when it was read: since it came, in AGE_S */
    int32_t transport, level; /* by extensions, -1 without */
    uint8_t marker, payload_type;
    uint16_t sequence;
    uint32_t timestamp, ssrc;
    uint16_t profile, extension_start, extension_end, payload_start, payload_end, nothing_else;
};

struct entry { /* what relaying.ENTRY unpacks */
    double at_s;
    uint32_t start; /* of its packet in the data */
    uint16_t size, nothing;
    struct row row;
    uint32_t nothing_else;
};

struct ledger { /* of what went on, until Python has read it */
    uint32_t entries, used;
    struct entry entry[LEDGER_ENTRIES];
    uint8_t data[LEDGER_BYTES];
};

struct allowance {
    double rate_per_s, burst, left, at_s;
};

struct limit { /* of one publisher: uplink.Compiled */
    struct allowance packets, octets;
};

struct stream;

struct relay { /* of one incoming stream */
    const struct stream *const *stream; /* its ways on; the caller keeps them */
    struct limit *limit;
    int32_t streams;
    uint8_t armed;
    uint16_t highest; /* number of the newest packet */
};

struct packet { /* what sending.py packs of each */
    uint32_t timestamp;
    uint16_t number;
    uint16_t size;  /* of its payload */
    uint8_t first;  /* 0x20: padded */
    uint8_t second; /* 0x80: marker */
};

struct relayed { /* one packet, where it was read into, with room for padding */
    uint8_t *data;
    uint16_t *size;
    uint32_t timestamp;
    uint16_t number, payload_start;
};

struct queue;

/* forward.c */
void diemcau_flush(struct queue *q);
void diemcau_forward(struct queue *q, const struct stream *stream, const struct packet *packets,
                     const uint8_t *const *payloads, int count, double now_s);

int diemcau_has_room(const struct ledger *ledger);
int diemcau_relays(struct relay *relay, uint16_t number, int size, double now_s);
void diemcau_relay(const struct relay *relay, struct queue *queue, const struct relayed *packets,
                   int count, double now_s);
struct entry *diemcau_enter(struct ledger *ledger, const uint8_t *data, int size, double now_s);
