/* One pass over a text, in time linear in its length: it searches for all words at once, and looks at the text around
 * the few bytes that occur in values of a known form. Every look is bounded, or is over a run that is read only once.
 * Nothing is allocated, and every read is inside the text. */
#include "anchor_parts.h"

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

static void on_form(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink)
{
    switch (text[at]) {
    case '@':
        if (at > 0 && !is(text[at - 1], SPACE) && at + 1 < size && text[at + 1] != '\n') add(sink, at, MPP_FORM_AT);
        break;
    case ':':
        mpp_on_colon(text, size, at, sink);
        mpp_on_separator(text, size, at, sink);
        break;
    case '-':
        mpp_on_separator(text, size, at, sink);
        on_hyphen(text, size, at, sink);
        break;
    case '.':
        mpp_on_stop(text, size, at, sink);
        break;
    case '+':
        mpp_on_plus(text, size, at, sink);
        break;
    case '\\':
        mpp_on_markup(text, size, at, sink);
        mpp_on_escape(text, size, at, sink);
        break;
    case '%':
    case '&':
        mpp_on_escape(text, size, at, sink);
        break;
    case '*':
    case '`':
    case '~':
    case '<':
        mpp_on_markup(text, size, at, sink);
        break;
    default:
        mpp_on_control(text, size, at, sink);
        break;
    }
}

/* Finds the forms that start at a byte, or that are around it. */
static void on_byte(const uint8_t *text, uint32_t size, uint32_t at, unsigned kind, struct mpp_scan *scan,
                    struct sink *sink)
{
    if (kind & WORD && at >= scan->word_end) scan->word_end = mpp_on_word(text, size, at, sink);
    if (kind & BASE64 && at >= scan->token_end) scan->token_end = mpp_on_token(text, size, at, sink);
    if (kind & DIGIT) {
        mpp_on_digit(text, size, at, sink);
        mpp_on_meeting(text, size, at, sink);
        if (at >= scan->digits_end) scan->digits_end = mpp_on_digits(text, size, at, sink);
    }
    if (kind & FORM) on_form(text, size, at, sink);
}

/* Finds the words that end at a byte. */
static void on_words(const struct mpp_automaton *a, const uint8_t *text, uint32_t size, uint32_t at, uint32_t state,
                     struct sink *sink)
{
    for (uint32_t s = a->output[state] != 0 ? state : a->link[state]; s != 0; s = a->link[s])
        for (uint32_t number = a->output[s]; number != 0; number = a->needles[number - 1].twin) {
            const struct mpp_needle *needle = &a->needles[number - 1];

            if (needle->length > at + 1) continue; /* it started in another text */
            if (mpp_word_counts(needle, a->words + needle->offset, text, size, at + 1 - needle->length))
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
    /* One byte never has more than MPP_ROOM_MIN anchors: one word of each length, their twins, and some forms. */
    for (; at < end && sink.count + MPP_ROOM_MIN <= room; at++) {
        unsigned kind = mpp_kinds[text[at]];
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

uint32_t mpp_scan_marks(const uint8_t *text, uint32_t size, uint32_t end, struct mpp_scan *scan,
                        struct mpp_anchor *found, uint32_t room)
{
    struct sink sink = { found, 0, room };
    uint32_t at = scan->at;

    if (end > size) end = size;
    for (; at < end && sink.count + MPP_ROOM_MIN <= room; at++) {
        if (!is(text[at], DIGIT | CONTROL)) continue;
        if (is(text[at], DIGIT))
            mpp_on_meeting(text, size, at, &sink);
        else
            mpp_on_control(text, size, at, &sink);
    }
    scan->at = at;
    return sink.count;
}
