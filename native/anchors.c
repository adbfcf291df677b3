/* One pass over a text, in time linear in its length: a search for all words at once (Aho and Corasick, 1975), and
 * a look at what stands around the few bytes that values of a known form have. Every look is bounded, or goes over
 * a run that is read once. Nothing is allocated; every read is inside the text. */
#include <stdint.h>

#include "anchors.h"

#include <string.h>

#define SOON_DIGIT 128 /* bytes between a word that announces and the first digit of its value */
#define SOON_AT 192
#define SOON_SECOND 96    /* no first word of a name is longer */
#define MASK_MAX 18       /* letters of a mask's kind (finding.MASK) */
#define ESCAPED_MAX 65536 /* bytes of base64 that are read */

/* What a byte is part of. */
enum {
    DIGIT = 1,
    UPPER = 2,
    LOWER = 4,
    HEX = 8,
    BASE64 = 16,
    TOKEN = 32,      /* what tokens are made of */
    JOINT = 64,      /* between the digits of a number */
    PRINTED = 128,   /* between the digits of a number that is printed: no brackets */
    SHORT = 256,     /* between a digit and a letter that looks like one */
    LOOKALIKE = 512, /* a letter that looks like a digit */
    LABEL = 1024,    /* of the name of a secret */
    FORM = 2048,     /* stands in the middle of a form */
    QUOTE = 4096,
    SPACE = 8192,
    AT_SIGN = 16384,
    CONTROL = 32768
};
#define LETTER (UPPER | LOWER)
#define WORD (DIGIT | LETTER)
#define OF_WORDS (BASE64 | TOKEN | LABEL)

static const uint16_t KINDS[256] = {
    ['0' ... '9'] = DIGIT | HEX | OF_WORDS,
    ['A' ... 'F'] = UPPER | HEX | OF_WORDS,
    ['G' ... 'H'] = UPPER | OF_WORDS,
    ['I'] = UPPER | LOOKALIKE | OF_WORDS,
    ['J' ... 'N'] = UPPER | OF_WORDS,
    ['O'] = UPPER | LOOKALIKE | OF_WORDS,
    ['P' ... 'Z'] = UPPER | OF_WORDS,
    ['a' ... 'f'] = LOWER | HEX | OF_WORDS,
    ['g' ... 'h'] = LOWER | OF_WORDS,
    ['i'] = LOWER | LOOKALIKE | OF_WORDS,
    ['j' ... 'k'] = LOWER | OF_WORDS,
    ['l'] = LOWER | LOOKALIKE | OF_WORDS,
    ['m' ... 'n'] = LOWER | OF_WORDS,
    ['o'] = LOWER | LOOKALIKE | OF_WORDS,
    ['p' ... 'z'] = LOWER | OF_WORDS,
    ['+'] = BASE64 | TOKEN | FORM,
    ['/'] = BASE64 | TOKEN | JOINT | PRINTED | SHORT,
    ['-'] = BASE64 | TOKEN | JOINT | PRINTED | SHORT | LABEL | FORM,
    ['_'] = BASE64 | TOKEN | JOINT | PRINTED | LABEL,
    ['.'] = TOKEN | JOINT | PRINTED | SHORT | LABEL | FORM,
    [' '] = SPACE | JOINT | PRINTED | SHORT,
    ['('] = JOINT,
    [')'] = JOINT,
    ['='] = TOKEN,
    ['%'] = TOKEN | FORM,
    ['~'] = TOKEN | FORM,
    ['@'] = TOKEN | FORM | AT_SIGN,
    ['$'] = TOKEN,
    [','] = TOKEN,
    [':'] = TOKEN | FORM,
    ['\\'] = FORM,
    ['&'] = FORM,
    ['"'] = QUOTE,
    ['\''] = QUOTE,
    ['`'] = QUOTE | FORM,
    ['*'] = FORM,
    ['<'] = FORM,
    [0 ... '\b'] = FORM | CONTROL,
    ['\t' ... '\n'] = SPACE,
    ['\v' ... '\r'] = SPACE | FORM | CONTROL,
    [0x0e ... 0x1f] = FORM | CONTROL,
    [0x7f ... 0x9f] = FORM | CONTROL,
};

static int is(uint8_t c, unsigned kinds)
{
    return (KINDS[c] & kinds) != 0;
}

static uint8_t lower(uint8_t c)
{
    return is(c, UPPER) ? (uint8_t)(c | 0x20) : c;
}

/* --- the search for words */

int mpp_automaton_build(struct mpp_automaton *automaton, uint32_t words_size)
{
    struct mpp_automaton *a = automaton;
    uint32_t states = 1, classes = 1, head, tail;
    uint32_t *queue = a->link; /* each state is taken from the queue before its link is known */

    memset(a->class_of, 0, sizeof a->class_of);
    for (uint32_t n = 0; n < a->needle_count; n++) {
        const struct mpp_needle *needle = &a->needles[n];

        if (needle->length == 0 || needle->length > MPP_NEEDLE_MAX || needle->offset > words_size ||
            needle->length > words_size - needle->offset || needle->twin > n)
            return -1;
        for (uint32_t i = 0; i < needle->length; i++) {
            uint8_t c = lower(a->words[needle->offset + i]);

            if (a->class_of[c] == 0) a->class_of[c] = (uint8_t)classes++;
        }
    }
    for (uint32_t c = 'A'; c <= 'Z'; c++) a->class_of[c] = a->class_of[c | 0x20];
    a->classes = classes;
    if (a->state_room == 0 || a->next_room / classes < a->state_room || a->next_room >= MPP_ENDS) return -1;
    memset(a->next, 0, (size_t)a->next_room * sizeof *a->next);
    memset(a->output, 0, (size_t)a->state_room * sizeof *a->output);
    memset(a->fail, 0, (size_t)a->state_room * sizeof *a->fail);

    for (uint32_t n = 0; n < a->needle_count; n++) {
        const struct mpp_needle *needle = &a->needles[n];
        uint32_t state = 0;

        for (uint32_t i = 0; i < needle->length; i++) {
            uint32_t *next = &a->next[state * classes + a->class_of[a->words[needle->offset + i]]];

            if (*next == 0) {
                if (states >= a->state_room) return -1;
                *next = states++;
            }
            state = *next;
        }
        a->output[state] = n + 1; /* its twins follow from it */
    }
    a->state_count = states;

    /* Breadth first: where a word does not go on, go on with the longest suffix that is the start of another. */
    head = tail = 0;
    for (uint32_t c = 0; c < classes; c++)
        if (a->next[c] != 0) queue[tail++] = a->next[c];
    while (head < tail) {
        uint32_t state = queue[head++];

        for (uint32_t c = 0; c < classes; c++) {
            uint32_t *next = &a->next[state * classes + c];
            uint32_t otherwise = a->next[a->fail[state] * classes + c];

            if (*next != 0) {
                a->fail[*next] = otherwise;
                queue[tail++] = *next;
            } else {
                *next = otherwise;
            }
        }
    }
    /* The queue is read for the last time: links by depth, which a chain of suffixes gives without it. */
    for (uint32_t state = 0; state < states; state++) {
        uint32_t suffix = a->fail[state];

        while (suffix != 0 && a->output[suffix] == 0) suffix = a->fail[suffix];
        a->link[state] = suffix;
    }
    /* States as offsets into next, so that a step is one read. */
    for (uint32_t i = 0; i < states * classes; i++) {
        uint32_t state = a->next[i];

        a->next[i] = state * classes | (a->output[state] != 0 || a->link[state] != 0 ? MPP_ENDS : 0);
    }
    return 0;
}

/* --- what surrounds a word */

/* An escape ends in a letter or digit and separates all the same: \n, %3D. */
static int ends_escape(const uint8_t *text, uint32_t at)
{
    if (at >= 2 && text[at - 2] == '\\' && strchr("nrtu", text[at - 1]) != NULL && text[at - 1] != 0) return 1;
    if (at >= 3 && text[at - 3] == '%' && is(text[at - 2], HEX) && is(text[at - 1], HEX)) return 1;
    return 0;
}

static int starts(const uint8_t *text, uint32_t at)
{
    return at == 0 || !is(text[at - 1], WORD) || ends_escape(text, at);
}

static uint32_t capped(uint32_t size, uint32_t from, uint32_t reach)
{
    return size - from < reach ? size : from + reach;
}

static int follows_soon(const uint8_t *text, uint32_t size, uint32_t from, uint32_t reach, unsigned wanted)
{
    uint32_t end = capped(size, from, reach);

    for (uint32_t i = from; i < end && text[i] != 0; i++)
        if (is(text[i], wanted)) return 1;
    return 0;
}

/* Whether a digit follows soon. What starts like a mask, ``card [CREDIT_CARD]``, stands between no word and its value. */
static int digit_follows(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t end = capped(size, from, SOON_DIGIT);

    for (uint32_t i = from; i < end && text[i] != 0; i++) {
        if (is(text[i], DIGIT)) return 1;
        if (text[i] == '[' && i + 1 < size && is(text[i + 1], UPPER)) return 0;
    }
    return 0;
}

/* Whether a word is part of what stands in the place of a value, ``[CREDIT_CARD]``: there it announces nothing. */
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

/* Whether a colon stands here, behind a quotation mark and two spaces at most. */
static int is_colon(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t i = from;

    if (i < size && (text[i] == '"' || text[i] == '\'')) i++;
    for (int spaces = 0; spaces < 2 && i < size && (text[i] == ' ' || text[i] == '\t'); spaces++) i++;
    return i < size && (text[i] == ':' || text[i] == '=');
}

/* Whether a label that may go on ends in a colon: ``name on file: ``, ``bill-to: ``. */
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

/* Whether what is called by a role alone (``"name": "Widget"``) could be somebody: of two words or more. Where the label
 * may have other words to it, nothing is said against it. */
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

/* Whether a string starts in the same line: the arguments of a call, or what somebody says a value is. */
static int quote_follows(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t end = capped(size, from, 56);

    for (uint32_t i = from; i < end && text[i] != 0 && text[i] != '\n'; i++)
        if (is(text[i], QUOTE)) return 1;
    return 0;
}

/* Whether a line ends here and the next one may say what the value of a name is: ``value: ``. */
static int is_value_below(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t i = from, end = capped(size, from, 40);

    if (i < end && text[i] == '\r') i++;
    if (i >= end || text[i] != '\n') return 0;
    while (i < end && (is(text[i], SPACE) || is(text[i], QUOTE))) i++;
    return i < end && (lower(text[i]) == 'v' || lower(text[i]) == 'c');
}

/* Whether behind a label, which may go on, something assigns, or spaces and a word of eight or more follow. */
static int assigns(const uint8_t *text, uint32_t size, uint32_t from)
{
    uint32_t i = from, end = capped(size, from, 33), label, run;

    while (i < end && is(text[i], LABEL)) i++;
    label = i;
    for (int closing = 0; closing < 4 && i < size; closing++) {
        uint32_t escaped = text[i] == '\\' && i + 1 < size ? i + 1 : i;

        if (!is(text[escaped], QUOTE) && text[escaped] != ']' && text[escaped] != ')') break;
        i = escaped + 1;
    }
    for (run = 0; run < 17 && i < size && (text[i] == ' ' || text[i] == '\t'); run++) i++;
    if (i < size && text[i] != 0 && strchr(":=|,>-!", text[i]) != NULL) return 1;
    if (is_value_below(text, size, i)) return 1;
    if (i + 1 < size && text[i] == '{' && (text[i + 1] == '\n' || text[i + 1] == '\r')) return 1; /* HCL */
    if (label - from >= 20) return 1; /* the value may be in the same word */
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

static int is_worth_it(const struct mpp_needle *needle, const uint8_t *word, const uint8_t *text, uint32_t size,
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
    /* What is glued to it, ``cc51b3``, is no number of its kind. */
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

/* --- forms */

struct sink {
    struct mpp_anchor *found;
    uint32_t count;
    uint32_t room;
};

static void add(struct sink *sink, uint32_t at, uint32_t what)
{
    if (sink->count < sink->room) sink->found[sink->count++] = (struct mpp_anchor){ at, what };
}

/* How many of at most `most` bytes from `at` on are of a kind. */
static uint32_t run_of(const uint8_t *text, uint32_t size, uint32_t at, uint32_t most, unsigned wanted)
{
    uint32_t count = 0;

    while (at + count < size && count < most && is(text[at + count], wanted)) count++;
    return count;
}

static int is_ip_end(uint8_t c)
{
    return c == '_' || (is(c, LETTER) && !is(c, HEX));
}

/* Whether what stands around two colons could be an address: four groups, or a first one that is assigned. */
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

static void on_colon(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
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

static void on_separator(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
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

static void on_stop(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
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

static int three(const uint8_t *text, uint32_t at)
{
    return is(text[at], DIGIT) && is(text[at + 1], DIGIT) && is(text[at + 2], DIGIT);
}

static void on_digit(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
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

/* Whether a run of digits that ends at `end` could be what a state calls somebody: it is long, or has their separators.
 * No date of eight digits with a time behind it is one. */
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

/* A run of digits and the separators that stand between them, read once. */
static uint32_t on_digits(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t i = at, digits = 0, spaces = 0,
             brackets = at > 0 && text[at - 1] == '(' ? 1 : at > 1 && text[at - 1] == ' ' && text[at - 2] == '(';

    for (; i < size; i++) {
        if (is(text[i], DIGIT)) {
            digits++;
        } else if (text[i] == ' ') {
            spaces++;
        } else if (!is(text[i], PRINTED) && text[i] != '\t') {
            /* (642) 569 -0877: the bracket ends no run that one has opened */
            if (text[i] != ')' || brackets != 1 || digits != 3) break;
            brackets++;
        }
    }
    if (digits >= 12) add(sink, at, MPP_FORM_DIGITS);
    if (digits >= 6 && digits <= 18 && may_be_identifier(text, size, at, i, digits)) add(sink, at, MPP_FORM_NUMBER);
    if (digits >= 10 && digits <= 13 && (spaces > 0 || brackets > 0)) add(sink, at, MPP_FORM_SPACED);
    return i;
}

static void on_plus(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
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

static void on_hyphen(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t i = at + 1, end;

    if (i < size && text[i] == '-') i++;
    if (i >= size || (text[i] | 0x20) != 'u') return;
    end = capped(size, at, 80);
    for (; i < end && text[i] != '\n' && text[i] != 0; i++)
        if (text[i] == ':' || (text[i] == '-' && text[i - 1] == ' ')) {
            add(sink, at, MPP_FORM_USER);
            return;
        }
}

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

/* Whether digits and letters are mixed as nobody's words or numbers are, and not only digits of hexadecimal numbers. */
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

/* Whether letters and digits stand where those of an identifier do: S1234567D, RSSMRA85T10A562S, BOXW310820HNERXN09. */
static int is_code(const uint8_t *word, uint32_t length)
{
    uint32_t letters = length == 9 ? 1 : length == 16 ? 6 : 4, digits = length == 9 ? 7 : length == 16 ? 2 : 6;

    for (uint32_t i = 0; i < letters; i++)
        if (!is(word[i], UPPER)) return 0;
    for (uint32_t i = 0; i < digits; i++)
        if (!is(word[letters + i], DIGIT)) return 0;
    return length == 18 || is(word[length - 1], UPPER);
}

/* A run of letters and digits, read once. */
static uint32_t on_word(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
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

/* Whether base64 is printable text in UTF-8. Tables of scripts are not asked: a detector looks again. */
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

/* A run of what base64 is written in, read once. */
static uint32_t on_token(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t end = at;

    while (end < size && is(text[end], BASE64)) end++;
    if (end - at >= 16 && is_printable(text + at, end - at)) add(sink, at, MPP_FORM_BASE64);
    return end;
}

static void on_escape(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    uint32_t left = size - at;
    const uint8_t *c = text + at;

    if (c[0] == '%') {
        if (left >= 3 && c[1] >= '2' && c[1] <= '7' && is(c[2], HEX)) add(sink, at, MPP_FORM_ESCAPE);
    } else if (c[0] == '\\') {
        if (left >= 6 && c[1] == 'u' && c[2] == '0' && c[3] == '0' && c[4] >= '2' && c[4] <= '7' && is(c[5], HEX))
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

/* Where the markup at `at` ends, which may come several at once: emphasis, the escape of a sign, a tag. */
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

/* Markup between the characters of what could be a value: nine digits or twelve characters around it. */
static void on_markup(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
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

/* Digits and letters of a number, as far as it may go on to one side, at most two separators in a row. */
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

/* The digit at `at` meets a letter that looks like one, in what could be a number of six or more. */
static void on_meeting(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
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

/* A control character that separates nothing: no end of a line, nor what stands between two texts (NUL, LF). */
static void on_control(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    if ((text[at] == 0 || text[at] == '\r') && at + 1 < size && text[at + 1] == '\n') return;
    if (at == 0 || !is(text[at - 1], CONTROL)) add(sink, at, MPP_FORM_CONTROL);
}

static void on_form(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    switch (text[at]) {
    case '@':
        if (at > 0 && !is(text[at - 1], SPACE) && at + 1 < size && text[at + 1] != '\n') add(sink, at, MPP_FORM_AT);
        break;
    case ':':
        on_colon(text, size, at, sink);
        on_separator(text, size, at, sink);
        break;
    case '-':
        on_separator(text, size, at, sink);
        on_hyphen(text, size, at, sink);
        break;
    case '.':
        on_stop(text, size, at, sink);
        break;
    case '+':
        on_plus(text, size, at, sink);
        break;
    case '\\':
        on_markup(text, size, at, sink);
        on_escape(text, size, at, sink);
        break;
    case '%':
    case '&':
        on_escape(text, size, at, sink);
        break;
    case '*':
    case '`':
    case '~':
    case '<':
        on_markup(text, size, at, sink);
        break;
    default:
        on_control(text, size, at, sink);
        break;
    }
}

/* What starts at a byte, or stands around it. */
static void on_byte(const uint8_t *text, uint32_t size, uint32_t at, unsigned kind, struct mpp_scan *scan,
                    struct sink *sink)
{
    if (kind & WORD && at >= scan->word_end) scan->word_end = on_word(text, size, at, sink);
    if (kind & BASE64 && at >= scan->token_end) scan->token_end = on_token(text, size, at, sink);
    if (kind & DIGIT) {
        on_digit(text, size, at, sink);
        on_meeting(text, size, at, sink);
        if (at >= scan->digits_end) scan->digits_end = on_digits(text, size, at, sink);
    }
    if (kind & FORM) on_form(text, size, at, sink);
}

/* The words that end at a byte. */
static void on_words(const struct mpp_automaton *a, const uint8_t *text, uint32_t size, uint32_t at, uint32_t state,
                     struct sink *sink)
{
    for (uint32_t s = a->output[state] != 0 ? state : a->link[state]; s != 0; s = a->link[s])
        for (uint32_t number = a->output[s]; number != 0; number = a->needles[number - 1].twin) {
            const struct mpp_needle *needle = &a->needles[number - 1];

            if (needle->length > at + 1) continue; /* it started in another text */
            if (is_worth_it(needle, a->words + needle->offset, text, size, at + 1 - needle->length))
                add(sink, at + 1 - needle->length, MPP_FORMS + number - 1);
        }
}

uint32_t mpp_scan_text(const struct mpp_automaton *automaton, const uint8_t *text, uint32_t size, uint32_t end,
                       struct mpp_scan *scan, struct mpp_anchor *found, uint32_t room)
{
    const struct mpp_automaton *a = automaton;
    struct sink sink = { found, 0, room };
    uint32_t state = scan->state, at = scan->at;

    if (end > size) end = size;
    if (state % a->classes != 0 || state / a->classes >= a->state_count) state = 0;
    /* No byte has more anchors than there is room for: one word of each length, their twins, and some forms. */
    for (; at < end && sink.count + MPP_ROOM_MIN <= room; at++) {
        unsigned kind = KINDS[text[at]];
        uint32_t next;

        if ((kind & WORD && at >= scan->word_end) || (kind & BASE64 && at >= scan->token_end) || kind & (DIGIT | FORM))
            on_byte(text, size, at, kind, scan, &sink);
        next = a->next[state + a->class_of[text[at]]];
        state = next & ~MPP_ENDS;
        if (next & MPP_ENDS) on_words(a, text, size, at, state / a->classes, &sink);
    }
    scan->at = at;
    scan->state = state;
    return sink.count;
}
