/* Places where a text can be read in another way: escapes, markup, control characters, letters among digits. Every look
 * is bounded. */
#include "anchor_parts.h"

void mpp_on_escape(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t left = size - at;
    const uint8_t *c = text + at;

    if (c[0] == '%') {
        if (left >= 3 && is(c[1], HEX) && c[1] >= '2' && is(c[2], HEX)) add(sink, at, MPP_FORM_ESCAPE);
    } else if (c[0] == '\\') { /* \u00fc, \u0142, \xfc; but not an escape of a control character */
        int is_byte = left >= 4 && c[1] == 'x', is_latin = left >= 6 && c[1] == 'u' && c[2] == '0';
        const uint8_t *code = c + (is_byte ? 2 : 4);

        if (!is_byte && !(is_latin && (c[3] == '0' || c[3] == '1'))) return;
        if (is(code[0], HEX) && is(code[1], HEX) && (code[0] >= '2' || (is_latin && c[3] == '1')))
            add(sink, at, MPP_FORM_ESCAPE);
    } else if (left >= 4) { /* &#64; &#x40; &amp; */
        uint32_t i = 1, end = capped(size, at, 10) - at;

        if (c[i] == '#') i++;
        while (i < end && is(c[i], WORD)) i++;
        if (i > 2 && i < end && c[i] == ';') add(sink, at, MPP_FORM_ESCAPE);
    }
}

static int is_of_value(uint8_t c)
{
    return is(c, WORD) || c >= 0x80 || strchr("@.+_-", c) != NULL;
}

/* Returns the end of the markup at `at`. Several pieces of markup may follow one another: emphasis and tags. */
static uint32_t markup_end(const uint8_t *text, uint32_t size, uint32_t at)
{
    uint32_t i = at;

    for (int marks = 0; marks < 4 && i < size; marks++) {
        if (text[i] == '*' || text[i] == '`' || text[i] == '~') {
            uint8_t c = text[i];
            uint32_t run = 0;

            while (run < 4 && i < size && text[i] == c) {
                i++;
                run++;
            }
            if (run > 3 || (c == '~' && run != 2)) return at;
        } else if (text[i] == '<') {
            uint32_t end = capped(size, i, 80), j = i + 1;

            if (j < size && text[j] == '/') j++;
            if (j >= size || !is(text[j], LETTER)) return at;
            while (j < end && text[j] != '>' && text[j] != '<' && text[j] != 0 && text[j] != '\n') j++;
            if (j >= end || text[j] != '>') return at;
            i = j + 1;
        } else {
            break;
        }
    }
    return i;
}

/* Markup between the characters of a possible value: there are nine digits or twelve characters around it. */
void mpp_on_markup(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t digits = 0, characters = 0, end;

    if (at == 0 || text[at - 1] == 0 || !is_of_value(text[at - 1])) return;
    end = text[at] == '\\' ? at + 1 : markup_end(text, size, at);
    if (end == at || end >= size || text[end] == 0 || !is_of_value(text[end])) return;
    if (text[at] == '\\' && is(text[end], WORD)) return;
    for (uint32_t step = 0; step < 2; step++) {
        uint32_t i = step ? end : at;

        for (uint32_t reach = 0; reach < 64; reach++) {
            uint8_t c;

            if (step ? i >= size : i == 0) break;
            c = step ? text[i++] : text[--i];
            if (is(c, SPACE) || c == 0 || strchr("\"'(){}[],;|", c) != NULL) break;
            digits += is(c, DIGIT) ? 1 : 0;
            characters += is(c, WORD) ? 1 : 0;
        }
    }
    if (digits >= 9 || characters >= 12) add(sink, at, MPP_FORM_MARKUP);
}

/* Counts the digits and letters of a number to one side, as far as the number may continue: at most two separators in a
 * row. */
static void count_side(const uint8_t *text, uint32_t size, uint32_t at, int step, uint32_t *digits, uint32_t *letters)
{
    int64_t i = at;
    uint32_t gap = 0;

    for (int reach = 0; reach < 96 && i >= 0 && i < (int64_t)size && gap <= 2; reach++, i += step) {
        if (is(text[i], DIGIT)) {
            (*digits)++;
            gap = 0;
        } else if (is(text[i], LOOKALIKE)) {
            (*letters)++;
            gap = 0;
        } else if (is(text[i], JOINT)) {
            gap++;
        } else {
            break;
        }
    }
}

/* The digit at `at` meets a letter that looks like a digit, in a possible number of six or more characters. */
void mpp_on_meeting(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t digits = 0, letters = 0;
    int meets = at + 1 < size && is(text[at + 1], LOOKALIKE);

    if (!meets && at + 2 < size && is(text[at + 1], SHORT)) meets = is(text[at + 2], LOOKALIKE);
    if (!meets && at >= 1) meets = is(text[at - 1], LOOKALIKE);
    if (!meets && at >= 2 && is(text[at - 1], SHORT)) meets = is(text[at - 2], LOOKALIKE);
    if (!meets) return;
    count_side(text, size, at, 1, &digits, &letters);
    if (at > 0) count_side(text, size, at - 1, -1, &digits, &letters);
    if (digits + letters >= 6 && digits >= 3) add(sink, at, MPP_FORM_LOOKALIKE);
}

/* A control character that separates nothing: it is neither an end of a line nor between two texts (NUL, LF). */
void mpp_on_control(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    if ((text[at] == 0 || text[at] == '\r') && at + 1 < size && text[at + 1] == '\n') return;
    if (at == 0 || !is(text[at - 1], CONTROL)) add(sink, at, MPP_FORM_CONTROL);
}
