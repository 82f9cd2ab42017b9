/* What many sockets have sent, read by one call and cut into messages (intake.py).
 *
 * All that is read here came from the network: every length is looked at before it is believed. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MOST_SOCKETS 256 /* of one call */
#define SLICE 4096       /* bytes read of one of them */
#define MOST_MESSAGES 16 /* in these */
#define ABOUT_SOCKET 4   /* notes */
#define ABOUT_MESSAGE 4
#define MOST_DIGITS 15 /* of an acknowledgement's number */
#define MOST_TEXT 80   /* of a name, of a key */

int diemcau_version(void) { return 2; }

/* Is text one command, in its plainest form: 42{digits}["{name}",{payload},"{key}"], in printable ASCII
 * without a backslash? Then end gets where in it the number ends, and the payload with its comma;
 * else zeros. Whether the payload is JSON is not asked: where it is, a JSON parser finds the same
 * three parts. */
static void find_command(const uint8_t *text, int size, int32_t *end)
{
    end[0] = end[1] = 0;
    for (int i = 0; i < size; i++)
        if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '\\')
            return;
    int at = 2, last = size - 3, begin;
    if (size < 2 || text[0] != '4' || text[1] != '2')
        return;
    while (at < size && text[at] >= '0' && text[at] <= '9')
        at++;
    int number = at;
    if (number > 2 + MOST_DIGITS || size - at < 4 || text[at] != '[' || text[at + 1] != '"')
        return;
    for (at = begin = at + 2; at < size && text[at] != '"';)
        at++;
    if (at == begin || at - begin > MOST_TEXT || size - at < 3 || text[at + 1] != ',')
        return;
    int payload = at + 2;
    if (text[size - 1] != ']' || text[size - 2] != '"')
        return;
    while (last > payload && text[last] != '"')
        last--;
    int key = size - 3 - last;
    if (last - 1 <= payload || text[last - 1] != ',' || key < 1 || key > MOST_TEXT)
        return;
    end[0] = number;
    end[1] = last;
}

/* Cuts what consists of whole, plain text frames alone (RFC 6455 section 5.2: final, without
 * extensions, masked, of less than 64 kB), and writes them unmasked into plain, which has room for
 * as many bytes. found gets, for each, where in plain it begins, its size, and the ends that find_command
 * gives. Returns how many there are, 0 where there is anything else, or more than most. */
int diemcau_cut(const uint8_t *data, uint32_t size, uint8_t *plain, int32_t *found, int most)
{
    uint32_t at = 0;
    int count = 0;
    while (at < size) {
        uint32_t head = 6, length;
        if (size - at < head || data[at] != 0x81 || !(data[at + 1] & 0x80) || count == most)
            return 0;
        length = data[at + 1] & 0x7f;
        if (length == 127)
            return 0;
        if (length == 126) {
            head = 8;
            if (size - at < head)
                return 0;
            length = (uint32_t)data[at + 2] << 8 | data[at + 3];
        }
        if (size - at - head < length)
            return 0;
        const uint8_t *mask = data + at + head - 4, *masked = data + at + head;
        for (uint32_t i = 0; i < length; i++)
            plain[at + i] = masked[i] ^ mask[i & 3];
        int32_t *about = found + ABOUT_MESSAGE * count++;
        about[0] = (int32_t)at;
        about[1] = (int32_t)length;
        find_command(plain + at, (int)length, about + 2);
        at += head + length;
    }
    return count;
}

/* Reads each socket that epoll has ready, once. raw and plain have room for ``room`` bytes, notes
 * for ``most`` numbers: for each socket its descriptor, where in raw its bytes begin, how many they
 * are (0: it ends or fails) and how many messages they were cut into; behind it for each of these
 * what diemcau_cut found. Returns how many numbers. Who finds no room is read by
 * the next call. */
int diemcau_take_in(int epoll, uint8_t *raw, uint8_t *plain, uint32_t room, int32_t *notes, int most)
{
    struct epoll_event ready[MOST_SOCKETS];
    int sockets = epoll_wait(epoll, ready, MOST_SOCKETS, 0), noted = 0;
    uint32_t at = 0;
    for (int i = 0; i < sockets; i++) {
        if (room - at < SLICE || most - noted < ABOUT_SOCKET + ABOUT_MESSAGE * MOST_MESSAGES)
            break;
        int32_t *note = notes + noted, *found = note + ABOUT_SOCKET;
        ssize_t got = recv(ready[i].data.fd, raw + at, SLICE, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            continue;
        note[0] = ready[i].data.fd;
        note[1] = (int32_t)at;
        note[2] = got > 0 ? (int32_t)got : 0;
        note[3] = diemcau_cut(raw + at, (uint32_t)note[2], plain + at, found, MOST_MESSAGES);
        for (int k = 0; k < note[3]; k++)
            found[ABOUT_MESSAGE * k] += (int32_t)at;
        noted += ABOUT_SOCKET + ABOUT_MESSAGE * note[3];
        at += (uint32_t)note[2];
    }
    return noted;
}
