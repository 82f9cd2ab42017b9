/* The compiled way of sending.py: one burst of packets to all of its receivers a call.
 *
 * Each packet is numbered anew, protected (seal.c, or in place by the SRTP library that Python has loaded:
 * its function comes as a pointer, nothing is linked), and queued. Packets of equal size to one receiver,
 * of whichever streams, are one datagram for UDP_SEGMENT (Linux 4.18; the last may be smaller), and what is
 * queued for all receivers is one sendmmsg. Every limit is checked here; the caller's memory is read only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "relay.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define ARENA_BYTES (1 << 20)
#define PACKET_BYTES 2048 /* no packet, protected, is larger */
#define TRAILER_BYTES 148
#define MAX_RUNS 256
#define MAX_PIECES 1024 /* as many as one message may have (UIO_MAXIOV) */
#define LATEST 512      /* a power of two */
#define MAX_SEGMENTS 64
#define MAX_RUN_BYTES 64000
#define FIXED_BYTES 12
#define MAX_ROWS 256
#define CONTROL_BYTES (CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(struct in6_pktinfo)))

struct flight;
struct seal;

struct stream {
    void *srtp;
    struct seal *seal; /* does it instead of srtp; may be NULL */
    const uint8_t *head;
    const void *address;
    struct flight *flight; /* gives transport-wide numbers; may be NULL */
    uint32_t timestamp_shift;
    uint16_t number_shift;
    uint16_t head_size;
    uint16_t transport_at; /* 0: no such number */
    uint16_t address_size;
    uint8_t payload_type;
};

struct run { /* of packets to one receiver, all but the last of `segment` bytes */
    int first, last; /* of its pieces */
    uint32_t bytes;
    uint16_t segment, count, pieces;
    int closed;
    uint16_t address_size; /* ours included, where that was told */
    struct sockaddr_storage address;
};

/* flight.c: a packet of `size` bytes is sent now; its transport-wide number. */
uint16_t diemcau_sent(struct flight *flight, int size, double now_s);

/* seal.c: `payload` sealed behind the head that stands at `packet`; the packet's size, or 0. */
int diemcau_seal(struct seal *seal, uint8_t *packet, int head_size, const uint8_t *payload, int size);

typedef int (*protector)(void *srtp, void *packet, int *size);

struct piece { /* of a run: packets that lie together in the arena */
    uint32_t start, bytes;
    int next;
};

struct latest { /* run of a receiver */
    const void *srtp;
    uint64_t flushes; /* when it was begun: it is of no use after the next */
    struct run *run;
};

struct queue {
    int fd, offload, runs, pieces;
    uint32_t used;
    uint64_t dropped, flushes;
    protector protect;
    struct run run[MAX_RUNS];
    struct piece piece[MAX_PIECES];
    struct latest latest[LATEST];
    uint8_t arena[ARENA_BYTES];
};

/* Counts up with each change of what sending.py declares: an older build is not used. */
int diemcau_version(void) { return 19; }

unsigned long diemcau_queue_bytes(void) { return sizeof(struct queue); }

void diemcau_open(struct queue *q, int fd, int offload, void *protect) {
    memset(q, 0, sizeof *q - ARENA_BYTES);
    q->fd = fd;
    q->offload = offload;
    q->protect = (protector)protect;
}

uint64_t diemcau_dropped(const struct queue *q) { return q->dropped; }

static void control(struct msghdr *message, int level, int type, const void *data, size_t size) {
    struct cmsghdr *header = (struct cmsghdr *)((uint8_t *)message->msg_control + message->msg_controllen);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), data, size);
    message->msg_controllen += CMSG_SPACE(size);
}

/* To the run's receiver and, where that was told, from the address of ours that it knows (addresses.py). */
static void address(struct msghdr *message, struct run *run, uint8_t *controls) {
    int is_6 = run->address.ss_family == AF_INET6;
    socklen_t size = is_6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    const uint8_t *ours = (const uint8_t *)&run->address + size;
    memset(message, 0, sizeof *message);
    message->msg_name = &run->address;
    message->msg_namelen = run->address_size < size ? run->address_size : size;
    message->msg_control = controls;
    if (is_6 && run->address_size == size + sizeof(struct in6_addr)) {
        struct in6_pktinfo from = {.ipi6_ifindex = 0};
        memcpy(&from.ipi6_addr, ours, sizeof from.ipi6_addr);
        control(message, IPPROTO_IPV6, IPV6_PKTINFO, &from, sizeof from);
    } else if (run->address_size == size + sizeof(struct in_addr)) {
        struct in_pktinfo from = {.ipi_ifindex = 0};
        memcpy(&from.ipi_spec_dst, ours, sizeof from.ipi_spec_dst);
        control(message, IPPROTO_IP, IP_PKTINFO, &from, sizeof from);
    }
}

/* A path may not take a run as a whole (a smaller MTU, no checksums by the device). */
static void send_singly(struct queue *q, struct run *run) {
    _Alignas(struct cmsghdr) uint8_t controls[CONTROL_BYTES];
    const struct piece *piece = &q->piece[run->first];
    struct iovec vector;
    struct msghdr message;
    address(&message, run, controls);
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    for (int i = 0; i < run->pieces; i++, piece = &q->piece[piece->next])
        for (uint32_t at = 0; at < piece->bytes; at += run->segment) {
            uint32_t size = piece->bytes - at < run->segment ? piece->bytes - at : run->segment;
            vector = (struct iovec){q->arena + piece->start + at, size};
            if (sendmsg(q->fd, &message, MSG_DONTWAIT) < 0)
                q->dropped++;
        }
}

static void prepare(struct queue *q, struct run *run, struct msghdr *message,
                    struct iovec *vectors, uint8_t *controls) {
    const struct piece *piece = &q->piece[run->first];
    for (int i = 0; i < run->pieces; i++, piece = &q->piece[piece->next])
        vectors[i] = (struct iovec){q->arena + piece->start, piece->bytes};
    address(message, run, controls);
    message->msg_iov = vectors;
    message->msg_iovlen = run->pieces;
    if (run->count > 1)
        control(message, IPPROTO_UDP, UDP_SEGMENT, &run->segment, sizeof run->segment);
}

void diemcau_flush(struct queue *q) {
    struct mmsghdr messages[MAX_RUNS];
    struct iovec vectors[MAX_PIECES], *vector = vectors;
    _Alignas(struct cmsghdr) uint8_t controls[MAX_RUNS][CONTROL_BYTES];
    for (int i = 0; i < q->runs; i++) {
        prepare(q, &q->run[i], &messages[i].msg_hdr, vector, controls[i]);
        vector += q->run[i].pieces;
    }
    int done = 0;
    while (done < q->runs) {
        int sent = sendmmsg(q->fd, messages + done, (unsigned)(q->runs - done), MSG_DONTWAIT);
        if (sent > 0) {
            done += sent;
        } else if (errno != EINTR) {
            struct run *run = &q->run[done++];
            if (errno == EAGAIN || errno == ENOBUFS || run->count == 1)
                q->dropped += run->count; /* a full buffer is loss like any other */
            else
                send_singly(q, run);
        }
    }
    q->runs = q->pieces = 0;
    q->used = 0;
    q->flushes++;
}

/* Where the latest run to this receiver is remembered; another may have taken its place, which costs a send. */
static struct latest *recall(struct queue *q, const struct stream *stream) {
    uintptr_t hash = (uintptr_t)stream->srtp >> 4;
    struct latest *latest = &q->latest[(hash ^ hash >> 9) & (LATEST - 1)];
    if (latest->srtp != stream->srtp || latest->flushes != q->flushes || !latest->run ||
        latest->run->address_size != stream->address_size ||
        memcmp(&latest->run->address, stream->address, stream->address_size))
        *latest = (struct latest){stream->srtp, q->flushes, NULL};
    return latest;
}

static int fits(const struct queue *q, const struct run *run, int size) {
    return q->offload && !run->closed && size <= run->segment && run->count < MAX_SEGMENTS &&
           run->bytes + (uint32_t)size <= MAX_RUN_BYTES;
}

static struct run *begin(struct queue *q, const struct stream *stream, int size) {
    struct run *run = &q->run[q->runs++];
    run->bytes = run->count = run->pieces = 0;
    run->segment = (uint16_t)size;
    run->closed = 0;
    run->address_size = stream->address_size;
    memcpy(&run->address, stream->address, stream->address_size);
    return run;
}

/* The packet that lies at the arena's end is the run's next one. */
static void append(struct queue *q, struct run *run, int size) {
    struct piece *last = run->pieces ? &q->piece[run->last] : NULL;
    if (last && last->start + last->bytes == q->used) {
        last->bytes += (uint32_t)size;
    } else {
        if (last)
            last->next = q->pieces;
        else
            run->first = q->pieces;
        run->last = q->pieces++;
        run->pieces++;
        q->piece[run->last] = (struct piece){q->used, (uint32_t)size, run->last};
    }
    run->closed = size < run->segment;
    run->bytes += (uint32_t)size;
    run->count++;
    q->used += (uint32_t)size;
}

static void write_head(const struct stream *stream, const struct packet *packet, double now_s,
                       uint8_t *out) {
    uint16_t number = (uint16_t)(packet->number + stream->number_shift);
    uint32_t timestamp = htonl(packet->timestamp + stream->timestamp_shift);
    memcpy(out, stream->head, stream->head_size);
    out[0] = (uint8_t)((out[0] & ~0x20) | packet->first);
    out[1] = stream->payload_type | packet->second;
    out[2] = (uint8_t)(number >> 8);
    out[3] = (uint8_t)number;
    memcpy(out + 4, &timestamp, 4);
    if (stream->flight && stream->transport_at) {
        int size = stream->head_size + packet->size;
        uint16_t transport = htons(diemcau_sent(stream->flight, size, now_s));
        memcpy(out + stream->transport_at, &transport, 2);
    }
}

/* The packet, protected; its size, or 0. */
static int write_packet(const struct queue *q, const struct stream *stream,
                        const struct packet *packet, const uint8_t *payload, double now_s,
                        uint8_t *out) {
    write_head(stream, packet, now_s, out);
    if (stream->seal)
        return diemcau_seal(stream->seal, out, stream->head_size, payload, packet->size);
    int size = stream->head_size + packet->size;
    memcpy(out + stream->head_size, payload, packet->size);
    return q->protect(stream->srtp, out, &size) ? 0 : size;
}

/* These packets to one receiver: queued. */
void diemcau_forward(struct queue *q, const struct stream *stream, const struct packet *packets,
                     const uint8_t *const *payloads, int count, double now_s) {
    if (stream->head_size < FIXED_BYTES || stream->address_size > sizeof q->run->address ||
        stream->transport_at + 2 > stream->head_size)
        return;
    struct latest *latest = recall(q, stream);
    for (int i = 0; i < count; i++) {
        if (stream->head_size + packets[i].size > PACKET_BYTES - TRAILER_BYTES)
            continue;
        if (q->used + PACKET_BYTES > ARENA_BYTES || q->runs == MAX_RUNS || q->pieces == MAX_PIECES) {
            diemcau_flush(q);
            latest = recall(q, stream);
        }
        uint8_t *out = q->arena + q->used;
        int size = write_packet(q, stream, &packets[i], payloads[i], now_s, out);
        if (!size)
            continue;
        if (!latest->run || !fits(q, latest->run, size))
            latest->run = begin(q, stream, size);
        append(q, latest->run, size);
    }
}

/* The same packets to each of these; their payloads lie one behind the other. */
void diemcau_fan(struct queue *q, const struct stream *const *streams, int stream_count,
                 const uint8_t *rows, const uint8_t *payloads, int count, double now_s) {
    struct packet packets[MAX_ROWS];
    const uint8_t *where[MAX_ROWS];
    for (; count > 0; count -= MAX_ROWS, rows += sizeof packets) {
        int some = count < MAX_ROWS ? count : MAX_ROWS;
        memcpy(packets, rows, (size_t)some * sizeof *packets);
        for (int i = 0; i < some; i++, payloads += packets[i - 1].size)
            where[i] = payloads;
        for (int i = 0; i < stream_count; i++)
            diemcau_forward(q, streams[i], packets, where, some, now_s);
    }
}
