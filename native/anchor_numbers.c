/* Forms of numbers: Internet addresses, telephone numbers, card numbers, and identifiers as states print them. Every
 * look is bounded, or is over a run that is read only once. */
#include "anchor_parts.h"

static int is_ip_end(uint8_t c)
{
    return c == '_' || (is(c, LETTER) && !is(c, HEX));
}

/* Whether the text around two colons could be an address: it has four groups, or its first group is an assigned one. */
static int may_be_ip(const uint8_t *text, uint32_t size, uint32_t at)
{
    uint32_t start = at, end = at, groups = 0, first;

    while (start > 0 && at - start < 45 && (is(text[start - 1], HEX) || text[start - 1] == ':')) start--;
    while (end < size && end - at < 45 && (is(text[end], HEX) || text[end] == ':' || text[end] == '.')) end++;
    for (uint32_t i = start; i < end; i++)
        if (is(text[i], HEX) && (i == start || text[i - 1] == ':')) groups++;
    if (groups >= 4 || text[start] == ':') return 1;
    first = run_of(text, size, start, 5, HEX);
    if (first == 2) return text[start] == '6' && text[start + 1] == '4';
    return first >= 4 && strchr("23fF", text[start + first - 4]) != NULL;
}

void mpp_on_colon(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    if (at + 2 < size && text[at + 1] == '/' && text[at + 2] == '/') {
        uint32_t end = capped(size, at + 3, 392);
        int colon = 0;

        for (uint32_t i = at + 3; i < end; i++) {
            uint8_t c = text[i];

            if (is(c, SPACE) || c == 0 || strchr("?#\"'<>/", c) != NULL) break;
            colon |= c == ':';
            if (c == '@' && colon) {
                add(sink, at, MPP_FORM_USERINFO);
                break;
            }
        }
        return;
    }
    if (at == 0 || !is_ip_end(text[at - 1])) {
        if (at + 1 < size && text[at + 1] == ':') {
            if ((at + 2 >= size || !is_ip_end(text[at + 2])) && may_be_ip(text, size, at))
                add(sink, at, MPP_FORM_COLONS);
        } else {
            uint32_t i = at, groups = 0;

            while (groups < 6 && i < size && text[i] == ':') {
                uint32_t digits = run_of(text, size, i + 1, 5, HEX);

                if (digits == 0) break;
                groups += digits <= 4 || groups == 5;
                if (digits > 4) break;
                i += 1 + digits;
            }
            if (groups == 6) add(sink, at, MPP_FORM_COLONS);
        }
    }
}

void mpp_on_separator(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint8_t c = text[at];
    uint32_t i = at;
    int pairs = 0;

    if (at < 2 || !is(text[at - 1], HEX) || !is(text[at - 2], HEX)) return;
    while (pairs < 5 && i + 2 < size && text[i] == c && is(text[i + 1], HEX) && is(text[i + 2], HEX)) {
        pairs++;
        i += 3;
    }
    if (pairs == 5) add(sink, at, MPP_FORM_PAIRS);
}

void mpp_on_stop(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t one, two;

    if (at >= 1 && is(text[at - 1], DIGIT)) {
        one = run_of(text, size, at + 1, 3, DIGIT);
        if (one > 0 && at + 1 + one < size && text[at + 1 + one] == '.') {
            two = run_of(text, size, at + 2 + one, 3, DIGIT);
            if (two > 0 && at + 3 + one + two < size && text[at + 2 + one + two] == '.' &&
                is(text[at + 3 + one + two], DIGIT))
                add(sink, at, MPP_FORM_DOTS);
        }
    }
    if (at >= 4 && is(text[at - 1], HEX) && is(text[at - 2], HEX) && is(text[at - 3], HEX) && is(text[at - 4], HEX) &&
        run_of(text, size, at + 1, 5, HEX) == 4 && at + 5 < size && text[at + 5] == '.' &&
        run_of(text, size, at + 6, 5, HEX) == 4)
        add(sink, at, MPP_FORM_QUADS);
    if (at >= 23 && at + 7 < size && text[at + 7] == '.' && is(text[at - 1], WORD)) {
        uint32_t start = at;

        while (start > 0 && at - start < 28 && is(text[start - 1], WORD)) start--;
        if (at - start >= 24 && at - start < 29 && strchr("MNO", text[start]) != NULL)
            add(sink, start, MPP_FORM_DISCORD);
    }
}

void mpp_on_digit(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    if (size - at >= 12 && three(text, at)) {
        uint32_t i = at + 3;
        uint8_t c = text[i];

        if (c == ')') {
            i += text[i + 1] == ' ' ? 2 : 1;
            if (size - i >= 8 && three(text, i) && (text[i + 3] == '-' || text[i + 3] == ' ' || text[i + 3] == '.') &&
                three(text, i + 4) && is(text[i + 7], DIGIT))
                add(sink, at, MPP_FORM_NANP);
        } else if (is(c, PRINTED) && three(text, i + 1) && text[i + 4] == c && size - i >= 9 && three(text, i + 5) &&
                   is(text[i + 8], DIGIT)) {
            add(sink, at, MPP_FORM_NANP);
        }
    }
    if (size - at >= 11 && text[at + 3] == '-' && text[at + 6] == '-' && three(text, at) && is(text[at + 4], DIGIT) &&
        is(text[at + 5], DIGIT) && three(text, at + 7) && is(text[at + 10], DIGIT))
        add(sink, at + 3, MPP_FORM_SSN);
    if (at >= 2 && is(text[at - 1], LETTER) && is(text[at - 2], LETTER) && starts(text, at - 2) && at + 1 < size &&
        is(text[at + 1], DIGIT)) {
        uint32_t i = at + 2, count = 0;

        while (count < 11 && i < size) {
            if ((text[i] == ' ' || text[i] == '-') && i + 1 < size) i++;
            if (!is(text[i], WORD)) break;
            count++;
            i++;
        }
        if (count == 11) add(sink, at, MPP_FORM_IBAN);
    }
}

/* Whether a run of digits that ends at `end` could be a state's identifier of a person: it is long, or it has the
 * separators of such identifiers. A date of eight digits with a time behind it is none. */
static int may_be_identifier(const uint8_t *text, uint32_t size, uint32_t at, uint32_t end, uint32_t digits)
{
    uint32_t length = end - at;

    if (digits >= 12) return 1;
    if (digits == 6) /* 131052A308T */
        return length == 6 && end + 4 < size && strchr("ABCDEFUVWXY", text[end]) != NULL && three(text, end + 1);
    if (digits == 9 && length > 6 && (text[at + 6] == '-' || text[at + 6] == '+')) return 1;
    if (digits <= 9) return digits >= 7 && length >= 9 && (text[at + 1] == '.' || text[at + 2] == '.');
    if (text[at + 4] == '-') return 0;
    for (uint32_t i = 2; i < 9 && i < length; i++)
        if (text[at + i] == '-' || text[at + i] == '.') return 1;
    return 0;
}

/* Reads a run of digits and the separators between them, once. */
uint32_t mpp_on_digits(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t i = at, digits = 0, spaces = 0,
             brackets = at > 0 && text[at - 1] == '(' ? 1 : at > 1 && text[at - 1] == ' ' && text[at - 2] == '(';

    for (; i < size; i++) {
        if (is(text[i], DIGIT)) {
            digits++;
        } else if (text[i] == ' ') {
            spaces++;
        } else if (!is(text[i], PRINTED) && text[i] != '\t') {
            /* (642) 569 -0877: a closing bracket does not end a run that an opening bracket precedes */
            if (text[i] != ')' || brackets != 1 || digits != 3) break;
            brackets++;
        }
    }
    if (digits >= 12) add(sink, at, MPP_FORM_DIGITS);
    if (digits >= 6 && digits <= 18 && may_be_identifier(text, size, at, i, digits)) add(sink, at, MPP_FORM_NUMBER);
    if (digits >= 10 && digits <= 13 && (spaces > 0 || brackets > 0)) add(sink, at, MPP_FORM_SPACED);
    return i;
}

void mpp_on_plus(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t i = at + 1, end = capped(size, at, 64), digits = 0, gap = 0;

    if (i < size && text[i] == '(') i++;
    for (; i < end && gap < 4; i++) {
        if (is(text[i], DIGIT)) {
            digits++;
            gap = 0;
        } else if (is(text[i], PRINTED) || text[i] == '(' || text[i] == ')') {
            gap++;
        } else {
            break;
        }
        if (digits == 0) return;
    }
    if (digits >= 8) add(sink, at, MPP_FORM_PLUS);
}
