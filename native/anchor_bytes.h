/* The kinds of single bytes, and checks of the bytes around them. Every part of the pass over a text uses these. Every
 * read is inside the text. */
#ifndef MPP_ANCHOR_BYTES_H
#define MPP_ANCHOR_BYTES_H

#include <stdint.h>
#include <string.h>

/* The kinds of a byte: what it may be part of. */
enum {
    DIGIT = 1,
    UPPER = 2,
    LOWER = 4,
    HEX = 8,
    BASE64 = 16,
    TOKEN = 32,      /* may occur in a token */
    JOINT = 64,      /* may be between the digits of a number */
    PRINTED = 128,   /* may be between the digits of a printed number: no brackets */
    SHORT = 256,     /* may be between a digit and a letter that looks like a digit */
    LOOKALIKE = 512, /* a letter that looks like a digit */
    LABEL = 1024,    /* may occur in the name of a secret */
    FORM = 2048,     /* occurs in the middle of a form */
    QUOTE = 4096,
    SPACE = 8192,
    AT_SIGN = 16384,
    CONTROL = 32768
};
#define LETTER (UPPER | LOWER)
#define WORD (DIGIT | LETTER)
#define OF_WORDS (BASE64 | TOKEN | LABEL)

extern const uint16_t mpp_kinds[256] __attribute__((visibility("hidden")));

static inline int is(uint8_t c, unsigned kinds)
{
    return (mpp_kinds[c] & kinds) != 0;
}

static inline uint8_t lower(uint8_t c)
{
    return is(c, UPPER) ? (uint8_t)(c | 0x20) : c;
}

static inline uint32_t capped(uint32_t size, uint32_t from, uint32_t reach)
{
    return size - from < reach ? size : from + reach;
}

/* Returns how many bytes in a row from `at` on are of a wanted kind, at most `most`. */
static inline uint32_t run_of(const uint8_t *text, uint32_t size, uint32_t at, uint32_t most, unsigned wanted)
{
    uint32_t count = 0;

    while (at + count < size && count < most && is(text[at + count], wanted)) count++;
    return count;
}

static inline int three(const uint8_t *text, uint32_t at)
{
    return is(text[at], DIGIT) && is(text[at + 1], DIGIT) && is(text[at + 2], DIGIT);
}

/* Whether an escape ends before `at`. An escape ends in a letter or digit, but separates words nevertheless: \n,
 * %3D. */
static inline int ends_escape(const uint8_t *text, uint32_t at)
{
    if (at >= 2 && text[at - 2] == '\\' && strchr("nrtu", text[at - 1]) != NULL && text[at - 1] != 0) return 1;
    if (at >= 3 && text[at - 3] == '%' && is(text[at - 2], HEX) && is(text[at - 1], HEX)) return 1;
    return 0;
}

static inline int starts(const uint8_t *text, uint32_t at)
{
    return at == 0 || !is(text[at - 1], WORD) || ends_escape(text, at);
}

#endif
