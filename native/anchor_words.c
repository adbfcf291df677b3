/* Checks the text around a word that was searched for: is the place worth a closer look? Every look is bounded. */
#include "anchor_parts.h"

#define SOON_DIGIT 128 /* most bytes between an announcing word and the first digit of its value */
#define SOON_AT 192
#define SOON_SECOND 96 /* the first word of a name is not longer */
#define MASK_MAX 18    /* most letters in a mask's kind (finding.MASK) */

static int follows_soon(const uint8_t *text, uint32_t size, uint32_t from, uint32_t reach, unsigned wanted)
{
    uint32_t end = capped(size, from, reach);

    for (uint32_t i = from; i < end && text[i] != 0; i++)
        if (is(text[i], wanted)) return 1;
    return 0;
}

/* Whether a digit follows soon. The search ends at the start of a mask, as in ``card [CREDIT_CARD]``: there is no mask
 * between a word and its value. */
static int digit_follows(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t end = capped(size, from, SOON_DIGIT);

    for (uint32_t i = from; i < end && text[i] != 0; i++) {
        if (is(text[i], DIGIT)) return 1;
        if (text[i] == '[' && i + 1 < size && is(text[i + 1], UPPER)) return 0;
    }
    return 0;
}

/* Whether a word is part of a mask that replaces a value, such as ``[CREDIT_CARD]``: there it announces nothing. */
static int is_in_mask(const uint8_t *text, uint32_t size, uint32_t at)
{
    uint32_t start = at, end = at;

    while (start > 0 && at - start < MASK_MAX && (is(text[start - 1], UPPER) || text[start - 1] == '_')) start--;
    if (start == 0 || text[start - 1] != '[' || !is(text[start], UPPER)) return 0;
    while (end < size && end - start <= MASK_MAX && (is(text[end], UPPER) || text[end] == '_')) end++;
    return end < size && text[end] == ']' && end - start >= 3 && end - start <= MASK_MAX && text[end - 1] != '_';
}

static int is_text(const uint8_t *text, uint32_t size, uint32_t at, const char *wanted)
{
    uint32_t i = 0;

    for (; wanted[i] != 0; i++)
        if (at + i >= size || lower(text[at + i]) != (uint8_t)wanted[i]) return 0;
    return 1;
}

/* Whether a colon or an equals sign is here, perhaps behind the end of bold Markdown, a quotation mark and at most two
 * spaces. */
static int is_colon(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t i = from;

    for (int marks = 0; marks < 2 && i < size && text[i] == '*'; marks++) i++;
    if (i < size && (text[i] == '"' || text[i] == '\'')) i++;
    for (int spaces = 0; spaces < 2 && i < size && (text[i] == ' ' || text[i] == '\t'); spaces++) i++;
    return i < size && (text[i] == ':' || text[i] == '=');
}

/* Whether a label, which may continue, ends in a colon: ``name on file: ``, ``bill-to: ``. */
static int colon_follows(const uint8_t *text, uint32_t size, uint32_t from)
{
    static const char *const rest[] = { "name", "names", "details", "on file", "address", "holder",
                                        "to",   "info",  "line1",   "line 1",  "line2",   "line 2" };
    uint32_t word = from;

    if (is_colon(text, size, from)) return 1;
    if (from >= size || text[from] == 0 || !(is(text[from], LETTER) || strchr(" _-", text[from]) != NULL)) return 0;
    if (!is(text[from], LETTER)) word++;
    for (uint32_t full = 0; full < 2; full++) {
        for (size_t n = 0; n < sizeof rest / sizeof *rest; n++)
            if (is_text(text, size, word, rest[n]) && is_colon(text, size, word + (uint32_t)strlen(rest[n]))) return 1;
        if (full || !is_text(text, size, word, "full")) return 0;
        word += 4;
        if (word < size && (text[word] == ' ' || text[word] == '_')) word++;
    }
    return 0;
}

/* Whether a value that is labelled by a role alone (``"name": "Widget"``) could be a person: it has two words or more.
 * If the label may have other words, the function returns 1. */
static int may_be_somebody(const uint8_t *text, uint32_t size, uint32_t at, uint32_t from)
{
    uint32_t i = from, end;

    if (at > 0 && text[at - 1] != '"' && text[at - 1] != '\'' && text[at - 1] != '\n') return 1;
    if (!is_colon(text, size, from)) return 1;
    while (text[i] != ':' && text[i] != '=') i++;
    i++;
    for (int spaces = 0; spaces < 4 && i < size && (text[i] == ' ' || text[i] == '\t'); spaces++) i++;
    if (i < size && text[i] == '"') i++;
    end = capped(size, i, SOON_SECOND);
    for (; i < end && text[i] != 0 && text[i] != '"' && text[i] != '\n'; i++)
        if (text[i] == ' ' || text[i] == ',') return 1;
    return 0;
}

/* Whether a string starts in the same line: an argument of a call, or a value that a sentence states. */
static int quote_follows(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t end = capped(size, from, 56);

    for (uint32_t i = from; i < end && text[i] != 0 && text[i] != '\n'; i++)
        if (is(text[i], QUOTE)) return 1;
    return 0;
}

/* Whether a line ends here and the next line may state the value of a name: ``value: ``. */
static int is_value_below(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t i = from, end = capped(size, from, 40);

    if (i < end && text[i] == '\r') i++;
    if (i >= end || text[i] != '\n') return 0;
    while (i < end && (is(text[i], SPACE) || is(text[i], QUOTE))) i++;
    return i < end && (lower(text[i]) == 'v' || lower(text[i]) == 'c');
}

/* Whether the line ends in a colon: then the next line contains what this line announces. */
static int is_told_below(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t i = from, end = capped(size, from, 62);

    while (i < end && text[i] != 0 && text[i] != '\n' && text[i] != ':') i++;
    if (i >= end || text[i] != ':') return 0;
    i++;
    while (i < end && (text[i] == ' ' || text[i] == '\r')) i++;
    return i < end && text[i] == '\n';
}

/* Whether an assignment follows a label, which may continue, or spaces and a word of eight or more characters
 * follow. */
static int assigns(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t i = from, end = capped(size, from, 33), label, run;

    while (i < end && is(text[i], LABEL)) i++;
    label = i;
    for (int closing = 0; closing < 4 && i < size; closing++) {
        uint32_t escaped = text[i] == '\\' && i + 1 < size ? i + 1 : i;

        /* Markdown's emphasis may close here, too: ``**API key**: …``. */
        if (!is(text[escaped], QUOTE) && text[escaped] != ']' && text[escaped] != ')' && text[escaped] != '*') break;
        i = escaped + 1;
    }
    for (run = 0; run < 17 && i < size && (text[i] == ' ' || text[i] == '\t'); run++) i++;
    if (i < size && text[i] != 0 && strchr(":=|,>-!", text[i]) != NULL) return 1;
    if (is_text(text, size, i, "value")) return 1; /* name="password" value="..." */
    if (is_value_below(text, size, i)) return 1;
    if (i + 1 < size && text[i] == '{' && (text[i + 1] == '\n' || text[i + 1] == '\r')) return 1; /* HCL */
    if (label - from >= 20) return 1; /* the value may be in the same word */
    if (label < size && text[label] == ' ' && is_told_below(text, size, label)) return 1;
    if (label < size && (text[label] == '(' || text[label] == ' ') && quote_follows(text, size, label)) return 1;
    if (i > label && i + 1 < size && text[i] == '?' && (text[i + 1] == ':' || text[i + 1] == '=')) return 1;

    i = label;
    if (i < size && is(text[i], QUOTE)) i++;
    for (run = 0; run < 4 && i < size && (text[i] == ' ' || text[i] == '\t' || text[i] == '('); run++) i++;
    if (run == 0) return 0;
    for (int words = 0; words < 5; words++) {
        int digit = 0;

        for (run = 0; i < size && text[i] != 0 && !is(text[i], SPACE | QUOTE) && run < 8; run++)
            digit |= is(text[i++], DIGIT);
        if (run >= (digit ? 6U : 8U) && (digit || words < 2)) return 1;
        for (uint32_t gap = 0;
             gap < 4 && i < size && (text[i] == ' ' || text[i] == ':' || text[i] == '(' || is(text[i], QUOTE)); gap++)
            i++;
    }
    return 0;
}

int mpp_word_counts(const struct mpp_needle *needle, const uint8_t *word, const uint8_t *text, uint32_t size,
                    uint32_t at)
{
    uint32_t end = at + needle->length;
    uint16_t checks = needle->checks;

    if (checks & MPP_NEEDLE_CASE && memcmp(word, text + at, needle->length) != 0) return 0;
    if (checks & MPP_NEEDLE_WORD && at > 0 && is(text[at - 1], LETTER) &&
        !(is(text[at - 1], LOWER) && is(text[at], UPPER)) && !ends_escape(text, at))
        return 0;
    if (checks & MPP_NEEDLE_WHOLE && end < size && is(text[end], LETTER)) return 0;
    if (checks & MPP_NEEDLE_START && !starts(text, at)) return 0;
    /* A digit that follows immediately, as in ``cc51b3``, is not a number of the word's kind. */
    if (checks & MPP_NEEDLE_DIGIT && end < size && is(text[end], DIGIT)) return 0;
    if (checks & MPP_NEEDLE_DIGIT && !digit_follows(text, size, end)) return 0;
    if (checks & MPP_NEEDLE_COLON && !colon_follows(text, size, end)) return 0;
    if (checks & MPP_NEEDLE_ROLE && !may_be_somebody(text, size, at, end)) return 0;
    if (checks & MPP_NEEDLE_AT && !follows_soon(text, size, end, SOON_AT, AT_SIGN)) return 0;
    if (checks & MPP_NEEDLE_ASSIGN && !assigns(text, size, end)) return 0;
    if (checks & MPP_NEEDLE_TOKEN) {
        uint32_t i = end;

        while (i < size && i - end < needle->need && is(text[i], TOKEN)) i++;
        if (i - end < needle->need) return 0;
    }
    return !is_in_mask(text, size, at);
}
