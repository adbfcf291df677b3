/* Runs of letters and digits, each read once: finds runs that are as long and as mixed as a value. */
#include "anchor_parts.h"

#define ESCAPED_MAX 65536 /* longest base64 run that is decoded, in bytes */

static int is_vin(const uint8_t *word)
{
    int letters = 0;

    for (int i = 0; i < 17; i++) {
        if (is(word[i], LETTER) && (is(word[i], LOWER) || strchr("IOQ", word[i]) != NULL)) return 0;
        letters += is(word[i], LETTER);
    }
    return (is(word[8], DIGIT) || word[8] == 'X') && letters >= 3 && letters <= 15;
}

static int has_prefix(const uint8_t *text, uint32_t length, const char *prefix)
{
    uint32_t i = 0;

    for (; prefix[i] != 0; i++)
        if (i >= length || lower(text[i]) != (uint8_t)prefix[i]) return 0;
    return 1;
}

static int is_wallet(const uint8_t *word, uint32_t length)
{
    if (length >= 26 && length <= 35 && strchr("13LDt", word[0]) != NULL) return 1;
    if (length == 42 && has_prefix(word, length, "0x")) return 1;
    return length >= 14 && length <= 91 &&
           (has_prefix(word, length, "bc1") || has_prefix(word, length, "tb1") || has_prefix(word, length, "ltc1"));
}

/* Whether digits and letters are mixed as in no word or number, and not all of them are hexadecimal digits. */
static int is_random(const uint8_t *word, uint32_t length)
{
    uint32_t digits = 0, turns = 0, beyond = 0;

    for (uint32_t i = 0; i < length; i++) {
        digits += is(word[i], DIGIT) ? 1 : 0;
        beyond += is(word[i], HEX) ? 0 : 1;
        turns += i > 0 && is(word[i], DIGIT) != is(word[i - 1], DIGIT) ? 1 : 0;
    }
    return digits >= 3 && turns >= 6 && beyond >= 4;
}

/* Whether the letters and digits are in the places where an identifier has them: S1234567D, RSSMRA85T10A562S,
 * BOXW310820HNERXN09. */
static int is_code(const uint8_t *word, uint32_t length)
{
    uint32_t letters = length == 9 ? 1 : length == 16 ? 6 : 4, digits = length == 9 ? 7 : length == 16 ? 2 : 6;

    for (uint32_t i = 0; i < letters; i++)
        if (!is(word[i], UPPER)) return 0;
    for (uint32_t i = 0; i < digits; i++)
        if (!is(word[letters + i], DIGIT)) return 0;
    return length == 18 || is(word[length - 1], UPPER);
}

/* Reads a run of letters and digits, once. */
uint32_t mpp_on_word(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t end = at;

    while (end < size && is(text[end], WORD)) end++;
    if (end - at == 17 && is_vin(text + at)) add(sink, at, MPP_FORM_VIN);
    if (end - at >= 14 && is_wallet(text + at, end - at)) add(sink, at, MPP_FORM_WALLET);
    if ((end - at == 9 || end - at == 16 || end - at == 18) && is_code(text + at, end - at))
        add(sink, at, MPP_FORM_CODE);
    if (end - at >= 20 && end - at <= 128 && is_random(text + at, end - at)) add(sink, at, MPP_FORM_RANDOM);
    if ((end - at == 10 || (end - at == 11 && text[at] == '1')) && run_of(text, end, at, 11, DIGIT) == end - at)
        add(sink, at, MPP_FORM_BARE);
    return end;
}

static uint32_t value_of(uint8_t c)
{
    if (is(c, UPPER)) return (uint32_t)(c - 'A');
    if (is(c, LOWER)) return (uint32_t)(c - 'a' + 26);
    if (is(c, DIGIT)) return (uint32_t)(c - '0' + 52);
    return c == '+' || c == '-' ? 62 : 63;
}

/* Whether base64 encodes printable text in UTF-8. Tables of scripts are not consulted, since a detector checks
 * again. */
static int is_printable(const uint8_t *text, uint32_t length)
{
    uint32_t bits = 0, held = 0, left = 0;

    if (length % 4 == 1 || length > ESCAPED_MAX) return 0;
    for (uint32_t i = 0; i < length; i++) {
        uint8_t c;

        bits = (bits << 6 | value_of(text[i])) & 0xFFFFFF;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        c = (uint8_t)(bits >> held);
        if (left > 0) {
            if ((c & 0xC0) != 0x80) return 0;
            left--;
        } else if (c >= 0xF0 && c < 0xF8) {
            left = 3;
        } else if (c >= 0xE0 && c < 0xF0) {
            left = 2;
        } else if (c >= 0xC0 && c < 0xE0) {
            left = 1;
        } else if (c >= 0x7F || (c < ' ' && c != '\n' && c != '\r' && c != '\t')) {
            return 0;
        }
    }
    return left == 0;
}

/* Reads a run of base64 characters, once. */
uint32_t mpp_on_token(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t end = at;

    while (end < size && is(text[end], BASE64)) end++;
    if (end - at >= 16 && is_printable(text + at, end - at)) add(sink, at, MPP_FORM_BASE64);
    return end;
}
