/* Driver of a board with `--link spi`, for microcontrollers: C99, no allocation, any endianness.
 *
 *     static const struct xnorflow board = {.exchange = exchange, .select = select, .patience = 1000};
 *     static uint8_t sequence, body[XNORFLOW_BODY(10)];
 *     size_t size;
 *     if (xnorflow_classify(&board, ++sequence, frame, sizeof frame, body, sizeof body, &size) == 0)
 *         printf("%u\n", (unsigned)xnorflow_word(body, 0));
 *
 * The packets are those of docs/reference/link.md. SPI is in mode 0, the highest bit first, at most
 * a quarter of the accelerator's clock, the first edge a period after the selection.
 */
#ifndef XNORFLOW_H
#define XNORFLOW_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of a reply's body: for a frame with so many scores, and for the description. */
#define XNORFLOW_BODY(scores) (8u + 4u * (scores))
#define XNORFLOW_DESCRIPTION 76u

enum xnorflow_command { XNORFLOW_INFO = 1, XNORFLOW_CLASSIFY = 2 };

/* Outcomes: 0 or a refusal of the board, or one of the driver's own below 0. */
enum xnorflow_status {
    XNORFLOW_OK = 0,
    XNORFLOW_BAD_CRC = 1,
    XNORFLOW_BAD_FRAMING = 2,
    XNORFLOW_UNKNOWN_COMMAND = 3,
    XNORFLOW_BAD_LENGTH = 4,
    XNORFLOW_NO_ANSWER = -1, /* nothing came within the patience, or only damaged replies */
    XNORFLOW_TOO_LONG = -2   /* the body is longer than the room for it */
};

/* The way to a board. */
struct xnorflow {
    uint8_t (*exchange)(void *context, uint8_t byte); /* send a byte, and return what comes */
    void (*select)(void *context, int selected);      /* drive CS; may be NULL */
    void *context;
    uint32_t patience; /* bytes read for a reply before it is asked for again */
    uint8_t attempts;  /* how often it asks; 0 stands for 5 */
};

/* A reply that is being read: COBS undone, its CRC kept. */
struct xnorflow_reader {
    uint8_t *body;
    size_t room, length; /* bytes of content so far, the CRC among them */
    uint16_t crc;
    uint8_t left, zero, open;
    uint8_t held[2]; /* the latest two, which are the CRC if nothing follows */
    uint8_t header[3];
};

static inline uint16_t xnorflow_crc(uint16_t crc, uint8_t byte) {
    crc ^= (uint16_t)((uint16_t)byte << 8);
    for (int bit = 0; bit < 8; bit++)
        crc = (uint16_t)((crc & 0x8000u) ? (uint16_t)(crc << 1) ^ 0x1021u : (uint16_t)(crc << 1));
    return crc;
}

/* Word of a body, which is little-endian. Scores are signed: cast them to int32_t. */
static inline uint32_t xnorflow_word(const uint8_t *body, size_t index) {
    const uint8_t *at = body + 4 * index;
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void xnorflow_begin(struct xnorflow_reader *reader) {
    reader->length = 0;
    reader->crc = 0xFFFFu;
    reader->left = reader->zero = reader->open = 0;
}

static inline void xnorflow_content(struct xnorflow_reader *reader, uint8_t byte) {
    if (reader->length >= 2) {
        const uint8_t known = reader->held[0];
        const size_t at = reader->length - 2;
        reader->crc = xnorflow_crc(reader->crc, known);
        if (at < 3)
            reader->header[at] = known;
        else if (at - 3 < reader->room)
            reader->body[at - 3] = known;
    }
    reader->held[0] = reader->held[1];
    reader->held[1] = byte;
    reader->length++;
}

/* Take a byte from the line; whether it ends a packet whose CRC is right. */
static inline int xnorflow_take(struct xnorflow_reader *reader, uint8_t byte) {
    if (byte == 0) {
        const int whole = reader->open && reader->left == 0 && reader->length >= 5 &&
                          reader->held[0] == reader->crc >> 8 &&
                          reader->held[1] == (reader->crc & 0xFFu);
        const size_t length = reader->length;
        xnorflow_begin(reader);
        reader->length = whole ? length : 0;
        return whole;
    }
    if (reader->left) {
        reader->left--;
        xnorflow_content(reader, byte);
        return 0;
    }
    if (reader->zero)
        xnorflow_content(reader, 0);
    reader->open = 1;
    reader->left = (uint8_t)(byte - 1);
    reader->zero = byte != 0xFFu;
    return 0;
}

static inline uint8_t xnorflow_request_byte(size_t at, const uint8_t *head,
                                            const uint8_t *payload, size_t size, uint16_t crc) {
    if (at < 2)
        return head[at];
    if (at < size + 2)
        return payload[at - 2];
    return (uint8_t)(at == size + 2 ? crc >> 8 : crc);
}

static inline void xnorflow_send(const struct xnorflow *board, const uint8_t *head,
                                 const uint8_t *payload, size_t size) {
    const size_t end = size + 4;
    uint16_t crc = 0xFFFFu;
    for (size_t at = 0; at < size + 2; at++)
        crc = xnorflow_crc(crc, xnorflow_request_byte(at, head, payload, size, 0));
    board->exchange(board->context, 0);
    for (size_t at = 0, more = 1; more;) {
        size_t run = 0;
        while (run < 254 && at + run < end &&
               xnorflow_request_byte(at + run, head, payload, size, crc))
            run++;
        board->exchange(board->context, (uint8_t)(run + 1));
        for (size_t n = 0; n < run; n++)
            board->exchange(board->context,
                            xnorflow_request_byte(at + n, head, payload, size, crc));
        /* A block of 254 bytes is followed by another; a shorter one stands for a zero, too. */
        more = run == 254 || at + run < end;
        at += run + (run < 254);
    }
    board->exchange(board->context, 0);
}

/* Ask for a command; its body comes into the room there, as many bytes as `length` says then.
 *
 * What is damaged on the way is asked for again under the same sequence number, which any number
 * but 0 may be; it must differ from that of the request before.
 */
static inline int xnorflow_ask(const struct xnorflow *board, uint8_t sequence, uint8_t command,
                               const uint8_t *payload, size_t size, uint8_t *body, size_t room,
                               size_t *length) {
    const uint8_t head[2] = {sequence, command};
    const int attempts = board->attempts ? board->attempts : 5;
    int outcome = XNORFLOW_NO_ANSWER;
    for (int attempt = 0; attempt < attempts; attempt++) {
        struct xnorflow_reader reader = {.body = body, .room = room};
        xnorflow_begin(&reader);
        if (board->select)
            board->select(board->context, 1);
        xnorflow_send(board, head, payload, size);
        outcome = XNORFLOW_NO_ANSWER;
        for (uint32_t read = 0; read < board->patience; read++) {
            if (!xnorflow_take(&reader, board->exchange(board->context, 0)))
                continue;
            /* Others are late replies, or refusals of noise. */
            if (reader.header[0] != sequence)
                continue;
            if (reader.header[1] == command || reader.header[2] <= XNORFLOW_BAD_FRAMING) {
                outcome = reader.header[2];
                break;
            }
        }
        if (board->select)
            board->select(board->context, 0);
        if (outcome == XNORFLOW_OK) {
            *length = reader.length - 5;
            return *length <= room ? XNORFLOW_OK : XNORFLOW_TOO_LONG;
        }
        if (outcome > XNORFLOW_BAD_FRAMING)
            return outcome;
    }
    return outcome;
}

/* Classify a frame: rows from the top, channels fastest. The body is the label, if the network
 * has labels, cycles and scores, a word each.
 */
static inline int xnorflow_classify(const struct xnorflow *board, uint8_t sequence,
                                    const uint8_t *frame, size_t size, uint8_t *body, size_t room,
                                    size_t *length) {
    return xnorflow_ask(board, sequence, XNORFLOW_CLASSIFY, frame, size, body, room, length);
}

#endif
