/* The compiled way of reading.py: what has come on the UDP socket, all of it by one call.
 *
 * What comes over an address that leads to a peer is unprotected in place (by the SRTP library that Python has
 * loaded: its functions come as pointers), RTP of streams that are known is read as rtp.py does, and RTCP goes
 * by listen.c. Whatever is anything else is Python's. All of it came from the network: every length is looked at before it is
 * believed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "relay.h"

#define DATAGRAMS MAX_RELAYED
#define NAME_BYTES 28       /* of struct sockaddr_in6 */
#define ADDRESS_BYTES 44    /* and ours behind it: addresses.py */
#define CONTROL_BYTES (CMSG_SPACE(sizeof(struct timespec)) + CMSG_SPACE(sizeof(struct in6_pktinfo)))
#define AGE_S 1e-5
#define MAX_ERRORS 128      /* of earlier sends, each reported once */
#define PLACES 4096         /* a power of two */
#define MOST_PLACES 3072
#define STREAMS 8
#define RID_BYTES 16
#define MAX_ELEMENTS 64 /* as rtp.py's */
#define MAX_SSRCS 1024 /* as srtp.py's */
#define MAX_CAME 512 /* more of them, and Python has to look */
#define MAX_LATE 1000  /* packets: a transport-wide number further back is a new beginning */

enum { STRANGE, FORGED, RTCP, RTP, MEDIA, HEARD, FELL, RELAYED, TELLING }; /* kinds of datagrams: as in reading.py */

struct ear;

/* listen.c: 0: done with, 1: and the budget is less than before; else the size. */
int diemcau_listen(struct ear *ear, const uint8_t *packet, int size, double now_s);

struct known_stream {
    uint32_t ssrc;
    uint8_t payload_type, rid_size; /* 0: whatever the packet says */
    uint8_t rid[RID_BYTES];
    struct relay *relay; /* may be NULL */
};

struct came { /* when a packet did that went on by itself */
    double at_s;
    uint32_t transport;
    uint32_t nothing;
};

struct inlet { /* one peer's */
    void *srtp;
    struct ear *ear; /* of who receives; may be NULL */
    int32_t streams;
    int32_t transport_id, level_id, rid_id, layers_id; /* of header extensions, 0 where not agreed on */
    uint16_t transport; /* the newest transport-wide number of a known stream */
    struct known_stream stream[STREAMS];
    int32_t ssrcs; /* that authentic packets had */
    uint32_t ssrc[MAX_SSRCS];
    int32_t count; /* of `came`, which Python empties: its sender is told of these sooner than there are books */
    struct came came[MAX_CAME];
};

struct place { /* an address that leads to a peer */
    struct inlet *inlet;
    uint32_t number, batch;
    uint16_t address_size; /* 0: free */
    uint8_t address[ADDRESS_BYTES];
};

typedef int (*unprotector)(void *srtp, void *packet, int *size);

struct arrivals {
    int fd;
    int full; /* what was read last was as much as is read at once */
    uint32_t batch, places;
    unprotector unprotect, unprotect_rtcp;
    struct queue *queue; /* where what is relayed goes; NULL: nothing is */
    struct ledger *ledger;
    struct relay *relays[DATAGRAMS]; /* by which it goes on, of each; NULL: it does not */
    struct row rows[DATAGRAMS];
    uint8_t addresses[DATAGRAMS][ADDRESS_BYTES];
    uint8_t data[DATAGRAMS][DATAGRAM_BYTES];
    struct mmsghdr messages[DATAGRAMS];
    _Alignas(struct cmsghdr) uint8_t told[DATAGRAMS][CONTROL_BYTES];
    struct iovec vectors[DATAGRAMS];
    struct place place[PLACES];
};

unsigned long diemcau_arrivals_bytes(void) { return sizeof(struct arrivals); }

/* Where rows, addresses and datagrams will lie: one behind the other. */
void diemcau_arrivals_open(struct arrivals *a, int fd, void *unprotect, void *unprotect_rtcp,
                           uint8_t **rows, uint8_t **addresses, uint8_t **data) {
    memset(a, 0, sizeof *a);
    a->fd = fd;
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes); /* without it nothing has an age */
    a->unprotect = (unprotector)unprotect;
    a->unprotect_rtcp = (unprotector)unprotect_rtcp;
    for (int i = 0; i < DATAGRAMS; i++) {
        a->vectors[i] = (struct iovec){a->data[i], DATAGRAM_BYTES};
        a->messages[i].msg_hdr = (struct msghdr){
            .msg_name = a->addresses[i], .msg_iov = &a->vectors[i], .msg_iovlen = 1,
            .msg_control = a->told[i]};
    }
    *rows = (uint8_t *)a->rows;
    *addresses = a->addresses[0];
    *data = a->data[0];
}

/* The place of this address, or the free one where it would be. There is always a free one. */
static struct place *find(struct arrivals *a, const uint8_t *address, int size) {
    uint32_t hash = 2166136261u;
    for (int i = 0; i < size; i++)
        hash = (hash ^ address[i]) * 16777619u;
    for (uint32_t at = hash ^ hash >> 15;; at++) {
        struct place *place = &a->place[at & (PLACES - 1)];
        if (!place->address_size ||
            (place->address_size == size && !memcmp(place->address, address, (size_t)size)))
            return place;
    }
}

/* What comes from there is for this peer, until `inlet` is NULL: then the place is kept, and the datagrams are
 * Python's. 0 where there is no room for another. */
int diemcau_lead(struct arrivals *a, const uint8_t *address, int size, struct inlet *inlet,
                 uint32_t number) {
    if (size <= 0 || size > ADDRESS_BYTES)
        return 0;
    struct place *place = find(a, address, size);
    if (!place->address_size) {
        if (!inlet || a->places == MOST_PLACES)
            return 0;
        a->places++;
        place->address_size = (uint16_t)size;
        memcpy(place->address, address, (size_t)size);
    }
    place->inlet = inlet;
    place->number = number;
    return 1;
}

/* Leaves only the places that lead somewhere. */
void diemcau_tidy(struct arrivals *a) {
    struct place kept[MOST_PLACES];
    int count = 0;
    for (int i = 0; i < PLACES; i++)
        if (a->place[i].inlet)
            kept[count++] = a->place[i];
    memset(a->place, 0, sizeof a->place);
    for (int i = 0; i < count; i++)
        *find(a, kept[i].address, kept[i].address_size) = kept[i];
    a->places = (uint32_t)count;
}

static uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static uint32_t read32(const uint8_t *at) { return (uint32_t)read16(at) << 16 | read16(at + 2); }

/* As rtp.parse; 0 where it is malformed. */
static int parse(const uint8_t *data, int size, struct row *row) {
    if (size < 12 || data[0] >> 6 != 2)
        return 0;
    int start = 12 + 4 * (data[0] & 15), end = size;
    int profile = 0, extension_start = start, extension_end = start;
    if (data[0] & 0x10) {
        if (start + 4 > size)
            return 0;
        profile = read16(data + start);
        extension_start = start + 4;
        start = extension_end = extension_start + 4 * read16(data + start + 2);
    }
    if (data[0] & 0x20) {
        if (!data[size - 1])
            return 0;
        end -= data[size - 1];
    }
    if (start > end)
        return 0;
    row->marker = data[1] >> 7;
    row->payload_type = data[1] & 127;
    row->sequence = read16(data + 2);
    row->timestamp = read32(data + 4);
    row->ssrc = read32(data + 8);
    row->profile = (uint16_t)profile;
    row->extension_start = (uint16_t)extension_start;
    row->extension_end = (uint16_t)extension_end;
    row->payload_start = (uint16_t)start;
    row->payload_end = (uint16_t)end;
    return 1;
}

/* One extension; 0 where it is not plain what it means. */
static int read_extension(const struct inlet *inlet, const struct known_stream *stream, int id,
                          const uint8_t *value, int size, struct row *row) {
    if (id == inlet->transport_id) {
        if (size >= 2 && row->transport >= 0)
            return 0; /* two of them */
        if (size >= 2)
            row->transport = read16(value);
    } else if (id == inlet->level_id) {
        if (size && row->level >= 0)
            return 0;
        if (size)
            row->level = value[0] & 127;
    } else if (id == inlet->layers_id) {
        row->kind = TELLING;
    } else if (id == inlet->rid_id && stream->rid_size) {
        return size == stream->rid_size && !memcmp(value, stream->rid, (size_t)size);
    }
    return 1;
}

/* As rtp.extensions gives them. */
static int read_extensions(const struct inlet *inlet, const struct known_stream *stream,
                           const uint8_t *data, struct row *row) {
    int at = row->extension_start, end = row->extension_end;
    int one_byte = row->profile == 0xBEDE;
    if (!one_byte && (row->profile & 0xFFF0) != 0x1000)
        return 1;
    for (int i = 0; i < MAX_ELEMENTS && at < end; i++) {
        int id = data[at++], size;
        if (!id)
            continue;
        if (one_byte) {
            size = (id & 15) + 1;
            id >>= 4;
            if (!id || id == 15)
                return 1;
        } else {
            if (at >= end)
                return 1;
            size = data[at++];
        }
        if (at + size > end)
            return 1;
        if (!read_extension(inlet, stream, id, data + at, size, row))
            return 0;
        at += size;
    }
    return 1;
}

/* What a plain RTP packet of this peer is: of which of the streams that are known, or just RTP. */
void diemcau_read_packet(const struct inlet *inlet, const uint8_t *data, int size, struct row *row) {
    row->kind = RTP;
    row->transport = row->level = -1;
    if (!parse(data, size, row))
        return;
    for (int i = 0; i < inlet->streams && i < STREAMS; i++) {
        const struct known_stream *stream = &inlet->stream[i];
        if (stream->ssrc != row->ssrc || stream->payload_type != row->payload_type)
            continue;
        row->kind = MEDIA;
        if (!read_extensions(inlet, stream, data, row))
            row->kind = RTP;
        return;
    }
}

/* Of the stream that a MEDIA packet is of. */
static struct relay *relay_of(const struct inlet *inlet, const struct row *row) {
    for (int i = 0; i < inlet->streams && i < STREAMS; i++)
        if (inlet->stream[i].ssrc == row->ssrc)
            return inlet->stream[i].relay;
    return NULL;
}

/* Is some packet of the line missing before this one, of whichever stream? What is not of a known stream
 * (a retransmission) is not counted, and seems to be. */
static int leaves_gap(struct inlet *inlet, const struct row *row) {
    int16_t ahead = (int16_t)(row->transport - inlet->transport);
    if (row->transport < 0 || (ahead <= 0 && ahead > -MAX_LATE))
        return 0;
    inlet->transport = (uint16_t)row->transport;
    return ahead != 1;
}

/* Where it is among those of authentic packets; their number where it is new. */
static int32_t find_ssrc(const struct inlet *inlet, uint32_t ssrc) {
    int32_t at = 0;
    while (at < inlet->ssrcs && inlet->ssrc[at] != ssrc)
        at++;
    return at;
}

static uint8_t listen_to(struct ear *ear, const uint8_t *packet, int size, double now_s) {
    int left = ear ? diemcau_listen(ear, packet, size, now_s) : size;
    return left > 1 ? RTCP : left ? FELL : HEARD;
}

static void take(struct arrivals *a, uint8_t *data, const uint8_t *address, struct row *row,
                 struct relay **relay, int relays, double now_s) {
    row->kind = STRANGE;
    row->first = 0;
    if (!row->size || data[0] >> 6 != 2 || !row->address_size)
        return;
    struct place *place = find(a, address, row->address_size);
    struct inlet *inlet = place->address_size ? place->inlet : NULL;
    if (!inlet || !inlet->srtp)
        return;
    row->place = place->number;
    row->kind = FORGED;
    int size = row->size, is_rtcp = size > 1 && data[1] >= 192 && data[1] <= 223; /* RFC 5761, 4 */
    if (size < (is_rtcp ? 8 : 12))
        return;
    uint32_t ssrc = read32(data + (is_rtcp ? 4 : 8));
    int32_t at = find_ssrc(inlet, ssrc);
    if (at == MAX_SSRCS || (is_rtcp ? a->unprotect_rtcp : a->unprotect)(inlet->srtp, data, &size))
        return;
    inlet->ssrc[at] = ssrc;
    if (at == inlet->ssrcs)
        inlet->ssrcs++;
    row->first = place->batch != a->batch;
    place->batch = a->batch;
    row->size = (uint16_t)size;
    if (is_rtcp) {
        row->kind = listen_to(inlet->ear, data, size, now_s);
        return;
    }
    diemcau_read_packet(inlet, data, size, row);
    int known = row->kind == MEDIA || row->kind == TELLING;
    if (known && !leaves_gap(inlet, row) && row->kind == MEDIA && relays) { /* of a gap Python hears at once */
        *relay = relay_of(inlet, row);
        if (inlet->count < MAX_CAME && diemcau_relays(*relay, row->sequence, size, now_s)) {
            row->kind = RELAYED;
            if (row->transport >= 0)
                inlet->came[inlet->count++] =
                    (struct came){now_s - row->age * AGE_S, (uint32_t)row->transport, 0};
        }
    }
}

/* What goes on by the same relay as the `first` one, together with it; then the books of it. */
static void relay_from(struct arrivals *a, int first, int count, double now_s) {
    struct relay *relay = a->relays[first];
    struct relayed packets[DATAGRAMS];
    uint16_t sizes[DATAGRAMS]; /* as sent */
    int which[DATAGRAMS], some = 0;
    for (int i = first; i < count; i++) {
        struct row *row = &a->rows[i];
        if (row->kind != RELAYED || a->relays[i] != relay)
            continue;
        a->relays[i] = NULL;
        sizes[some] = row->size;
        packets[some] = (struct relayed){a->data[i], &sizes[some], row->timestamp, row->sequence,
                                         row->payload_start};
        which[some++] = i;
    }
    diemcau_relay(relay, a->queue, packets, some, now_s);
    for (int i = 0; i < some; i++)
        diemcau_enter(a->ledger, packets[i].data, sizes[i], now_s)->row = a->rows[which[i]];
}

/* All that goes on. Streams whose first packet is larger go first: one send to a receiver takes packets of one size
 * and a smaller one behind them, so that half as many sends are needed for small pictures and sound of several
 * publishers as where each may be larger than the one before. */
static void relay_all(struct arrivals *a, int count, double now_s) {
    int firsts[DATAGRAMS], streams = 0;
    for (int i = 0; i < count; i++) {
        int at = 0;
        if (a->rows[i].kind != RELAYED || !a->relays[i])
            continue;
        while (at < streams && a->relays[firsts[at]] != a->relays[i])
            at++;
        if (at < streams)
            continue; /* one of a stream that is there already */
        streams++;
        while (at > 0 && a->rows[firsts[at - 1]].size < a->rows[i].size) {
            firsts[at] = firsts[at - 1];
            at--;
        }
        firsts[at] = i;
    }
    for (int i = 0; i < streams; i++)
        relay_from(a, firsts[i], count, now_s);
    if (streams)
        diemcau_flush(a->queue);
}

/* How long ago the kernel took it from the line. */
static uint16_t age_of(const uint8_t *stamp, const struct timespec *now) {
    struct timespec came;
    memcpy(&came, stamp, sizeof came);
    double age = ((double)(now->tv_sec - came.tv_sec) +
                  (double)(now->tv_nsec - came.tv_nsec) * 1e-9) / AGE_S;
    return age < 0 ? 0 : age > UINT16_MAX ? UINT16_MAX : (uint16_t)age;
}

/* What the kernel tells of a datagram: its age, where from and, where it was asked, to which of our addresses. */
static void read_told(struct msghdr *message, uint8_t *address, struct row *row, const struct timespec *now) {
    socklen_t size = message->msg_namelen;
    row->age = 0;
    row->address_size = size <= NAME_BYTES ? (uint16_t)size : 0;
    for (struct cmsghdr *told = CMSG_FIRSTHDR(message); told; told = CMSG_NXTHDR(message, told)) {
        const uint8_t *data = CMSG_DATA(told);
        if (told->cmsg_level == SOL_SOCKET && told->cmsg_type == SCM_TIMESTAMPNS) {
            row->age = age_of(data, now);
        } else if (told->cmsg_level == IPPROTO_IPV6 && told->cmsg_type == IPV6_PKTINFO && row->address_size) {
            memcpy(address + size, data, sizeof(struct in6_addr));
            row->address_size = (uint16_t)(size + sizeof(struct in6_addr));
        } else if (told->cmsg_level == IPPROTO_IP && told->cmsg_type == IP_PKTINFO && row->address_size) {
            memcpy(address + size, &((const struct in_pktinfo *)data)->ipi_spec_dst, sizeof(struct in_addr));
            row->address_size = (uint16_t)(size + sizeof(struct in_addr));
        }
    }
}

/* How many have come; 0: none (any more) that somebody has to look at. */
int diemcau_receive(struct arrivals *a, double now_s) {
    for (int i = 0; i < DATAGRAMS; i++) {
        a->messages[i].msg_hdr.msg_namelen = NAME_BYTES;
        a->messages[i].msg_hdr.msg_controllen = sizeof a->told[i];
    }
    int count = -1;
    a->full = 0;
    for (int errors = 0; count < 0 && errors < MAX_ERRORS; errors++) {
        count = recvmmsg(a->fd, a->messages, DATAGRAMS, MSG_DONTWAIT, NULL);
        if (count < 0 && (errno == EAGAIN || errno == EBADF || errno == ENOTSOCK))
            return 0;
    }
    a->full = count == DATAGRAMS;
    a->batch++;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int relays = a->queue && diemcau_has_room(a->ledger), relayed = 0, done = 0;
    for (int i = 0; i < count; i++) {
        struct row *row = &a->rows[i];
        row->size = (uint16_t)a->messages[i].msg_len;
        read_told(&a->messages[i].msg_hdr, a->addresses[i], row, &now);
        a->relays[i] = NULL;
        take(a, a->data[i], a->addresses[i], row, &a->relays[i], relays, now_s);
        relayed += row->kind == RELAYED;
        if (relays && row->kind == HEARD) {
            if (row->first)
                diemcau_enter(a->ledger, a->data[i], 0, now_s)->row = *row;
            row->kind = RELAYED; /* nothing is left to do */
        }
        done += row->kind == RELAYED;
    }
    if (relayed)
        relay_all(a, count, now_s);
    return count < 0 || count == done ? 0 : count;
}

/* May more be waiting than was read? */
int diemcau_is_behind(const struct arrivals *a) { return a->full; }

/* What is relayed leaves by `queue` from now on, and is written down here: to be emptied by the caller, by
 * setting its first two numbers to 0. Where entries and data lie. */
void diemcau_arrivals_relay(struct arrivals *a, struct queue *queue, struct ledger *ledger,
                            uint8_t **entries, uint8_t **data) {
    memset(ledger, 0, sizeof *ledger - LEDGER_BYTES);
    a->queue = queue;
    a->ledger = ledger;
    *entries = (uint8_t *)ledger->entry;
    *data = ledger->data;
}

unsigned long diemcau_ledger_bytes(void) { return sizeof(struct ledger); }
