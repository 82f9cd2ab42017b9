/* What only changes its numbers on the way goes on to all who receive it from the buffer that it was read
 * into, without Python, which keeps the books of it a little later (`ledger`; see relaying.py).
 */
#include <stdint.h>
#include <string.h>

#include "relay.h"

#define MAX_PADDING_BYTES 4 /* as bursts.py */

/* As limits.Allowance.allows. */
static int allows(struct allowance *a, double units, double now_s) {
    if (now_s > a->at_s) {
        double left = a->left + (now_s - a->at_s) * a->rate_per_s;
        a->left = left < a->burst ? left : a->burst;
        a->at_s = now_s;
    }
    return units <= a->left;
}

/* For all that may be read at once? */
int diemcau_has_room(const struct ledger *ledger) {
    return ledger->entries + MAX_RELAYED <= LEDGER_ENTRIES &&
           ledger->used + MAX_RELAYED * DATAGRAM_BYTES <= LEDGER_BYTES;
}

/* As uplink.Plain.take. */
int diemcau_take(struct limit *limit, int size, double now_s) {
    if (!allows(&limit->packets, 1, now_s) || !allows(&limit->octets, size, now_s))
        return 0;
    limit->packets.left -= 1;
    limit->octets.left -= size;
    return 1;
}

/* Does this packet, the next one of its stream, go on by itself? If so it counts as gone. */
int diemcau_relays(struct relay *relay, uint16_t number, int size, double now_s) {
    if (!relay || !relay->armed || number != (uint16_t)(relay->highest + 1) ||
        !diemcau_take(relay->limit, size, now_s))
        return 0;
    relay->highest = number;
    return 1;
}

/* As bursts.equalise: sizes that differ by a byte or so are made one, in place. */
static void equalise(const struct relayed *packets, int count) {
    for (int i = count - 2; i >= 0; i--) {
        const struct relayed *packet = &packets[i], *later = &packets[i + 1];
        int missing = *later->size - *packet->size;
        if (missing <= 0 || missing > MAX_PADDING_BYTES || packet->data[0] & 0x20 ||
            packet->timestamp != later->timestamp)
            continue;
        memset(packet->data + *packet->size, 0, (size_t)missing);
        *packet->size = (uint16_t)(*packet->size + missing);
        packet->data[*packet->size - 1] = (uint8_t)missing;
        packet->data[0] |= 0x20;
    }
}

/* These packets of one stream, in order, to all of its receivers. */
void diemcau_relay(const struct relay *relay, struct queue *queue, const struct relayed *packets, int count,
                   double now_s) {
    struct packet rows[MAX_RELAYED];
    const uint8_t *payloads[MAX_RELAYED];
    if (count > 1)
        equalise(packets, count);
    for (int i = 0; i < count; i++) {
        const struct relayed *packet = &packets[i];
        payloads[i] = packet->data + packet->payload_start;
        rows[i] = (struct packet){packet->timestamp, packet->number,
                                  (uint16_t)(*packet->size - packet->payload_start),
                                  packet->data[0] & 0x20, packet->data[1] & 0x80};
    }
    for (int i = 0; queue && i < relay->streams; i++)
        diemcau_forward(queue, relay->stream[i], rows, payloads, count, now_s);
}

/* Notes a packet, as it went on, behind those before it. */
struct entry *diemcau_enter(struct ledger *ledger, const uint8_t *data, int size, double now_s) {
    struct entry *entry = &ledger->entry[ledger->entries++];
    entry->at_s = now_s;
    entry->start = ledger->used;
    entry->size = (uint16_t)size;
    memcpy(ledger->data + ledger->used, data, (size_t)size);
    ledger->used += (uint32_t)size;
    return entry;
}
