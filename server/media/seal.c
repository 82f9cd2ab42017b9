/* The compiled way of srtp.py: outgoing RTP sealed by AES-GCM (RFC 7714), one key for all streams of a peer.
 *
 * libsrtp looks for a packet's stream in a list, which takes longer than sealing it where a peer has a slot
 * for each of sixty rooms; here a stream is one place of a table. The cipher is OpenSSL's, through functions
 * that Python hands over. Nothing comes from the network here: what is sealed is our own.
 */
#include <stdint.h>
#include <string.h>

#define STREAMS 512 /* a power of two */
#define SALT_BYTES 12
#define TAG_BYTES 16
#define FIXED_BYTES 12
#define GET_TAG 0x10 /* EVP_CTRL_AEAD_GET_TAG */
#define LAST_INDEX ((1ull << 48) - 1)
#define WINDOW 1024 /* packets; one further behind the highest may be of an earlier turn of the numbers */

struct ciphers { /* of OpenSSL, EVP_EncryptInit_ex and so on */
    int (*init)(void *context, const void *cipher, void *engine, const uint8_t *key,
                const uint8_t *iv);
    int (*update)(void *context, uint8_t *out, int *out_size, const uint8_t *in, int size);
    int (*finish)(void *context, uint8_t *out, int *out_size);
    int (*control)(void *context, int what, int number, void *data);
};

struct stream_index {
    uint64_t highest; /* index (RFC 3711, 3.3.1) so far */
    uint32_t ssrc;
    uint32_t known;
};

struct seal {
    struct ciphers ciphers;
    void *context;
    uint8_t salt[SALT_BYTES];
    struct stream_index streams[STREAMS];
};

unsigned long diemcau_seal_bytes(void) { return sizeof(struct seal); }

/* `context` is an EVP_CIPHER_CTX that outlives the seal. 0 where the cipher is not to be had. */
int diemcau_seal_open(struct seal *s, const struct ciphers *ciphers, void *context,
                      const void *cipher, const uint8_t *key, const uint8_t *salt) {
    static const uint8_t iv[SALT_BYTES];
    memset(s, 0, sizeof *s);
    s->ciphers = *ciphers;
    s->context = context;
    memcpy(s->salt, salt, SALT_BYTES);
    return s->ciphers.init(context, cipher, NULL, key, iv) == 1;
}

static struct stream_index *find(struct seal *s, uint32_t ssrc) {
    for (uint32_t i = 0; i < STREAMS; i++) {
        struct stream_index *stream = &s->streams[(ssrc + i) & (STREAMS - 1)];
        if (!stream->known || stream->ssrc == ssrc) {
            stream->ssrc = ssrc;
            return stream;
        }
    }
    return NULL;
}

/* The index of the packet numbered `number`: nearest to the highest one. -1 where there is none, and where it
 * is too late: a publisher's numbers may jump, and no index may seal two packets. */
static int64_t count(struct stream_index *stream, uint16_t number) {
    if (!stream->known) {
        stream->known = 1;
        stream->highest = number;
        return number;
    }
    int16_t ahead = (int16_t)(number - (uint16_t)stream->highest);
    int64_t index = (int64_t)stream->highest + ahead;
    if (index < 0 || index > (int64_t)LAST_INDEX || ahead <= -WINDOW)
        return -1;
    if (ahead > 0)
        stream->highest = (uint64_t)index;
    return index;
}

static uint32_t read32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Where the payload of a packet with this header begins; 0 where the header is not whole. */
static int begins(const uint8_t *head, int head_size) {
    int at = FIXED_BYTES + 4 * (head[0] & 15);
    if (head[0] & 0x10) {
        if (at + 4 > head_size)
            return 0;
        at += 4 + 4 * (head[at + 2] << 8 | head[at + 3]);
    }
    return at;
}

/* Seals `size` bytes of `payload` behind the `head_size` bytes that stand at `packet`, which has room for the
 * tag as well. The packet's size; 0 where it cannot be sealed. */
int diemcau_seal(struct seal *s, uint8_t *packet, int head_size, const uint8_t *payload, int size) {
    if (head_size < FIXED_BYTES || size < 0 || begins(packet, head_size) != head_size)
        return 0; /* what stands in a header is authentic, but readable */
    struct stream_index *stream = find(s, read32(packet + 8));
    int64_t index = stream ? count(stream, (uint16_t)(packet[2] << 8 | packet[3])) : -1;
    if (index < 0)
        return 0;
    uint8_t iv[SALT_BYTES] = {0}; /* RFC 7714, 8.1 */
    memcpy(iv + 2, packet + 8, 4);
    for (int i = 0; i < 6; i++)
        iv[6 + i] = (uint8_t)(index >> (8 * (5 - i)));
    for (int i = 0; i < SALT_BYTES; i++)
        iv[i] ^= s->salt[i];
    const struct ciphers *c = &s->ciphers;
    uint8_t *out = packet + head_size;
    int taken, last;
    if (c->init(s->context, NULL, NULL, NULL, iv) != 1 ||
        c->update(s->context, NULL, &taken, packet, head_size) != 1)
        return 0;
    if (size == 0)
        taken = 0;
    else if (c->update(s->context, out, &taken, payload, size) != 1)
        return 0;
    if (taken != size || c->finish(s->context, out + taken, &last) != 1 ||
        c->control(s->context, GET_TAG, TAG_BYTES, out + size) != 1)
        return 0;
    return head_size + size + TAG_BYTES;
}
