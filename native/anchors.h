/* Finds the places in a text where a value could be: words that announce a value, prefixes of tokens, and the first
 * character of values that are recognised by their form. The detectors of mpp_exec.privacy examine the places that are
 * found here more closely. They do not examine any other place.
 *
 * This file is both a C header and a cffi cdef, so it contains no directives except integer #defines. A text has one
 * byte for each code point: ASCII characters as themselves, and every other character as a byte that is not ASCII, or
 * as '?'. */

/* Conditions on what follows or precedes a word, under which its place is worth a closer look. */
#define MPP_NEEDLE_CASE 1  /* the word is written in exactly this case; other words are found in any case */
#define MPP_NEEDLE_WORD 2  /* no letter before the word, unless the word begins with a camel-case capital (homePhone) */
#define MPP_NEEDLE_WHOLE 4 /* no letter behind the word */
#define MPP_NEEDLE_START 8 /* no letter or digit before the word, unless an escape ends there */
#define MPP_NEEDLE_TOKEN 16   /* `need` bytes that may occur in tokens follow */
#define MPP_NEEDLE_DIGIT 32   /* a digit follows soon, but not immediately */
#define MPP_NEEDLE_COLON 64   /* a colon or an equals sign follows, perhaps behind a few words that may end a label */
#define MPP_NEEDLE_ASSIGN 128 /* an assignment follows the label, or spaces and a long word */
#define MPP_NEEDLE_AT 256     /* an at sign follows soon */
#define MPP_NEEDLE_ROLE 512   /* the value behind its colon has two words, if nothing precedes the word */

#define MPP_ENDS 0x80000000
#define MPP_NEEDLE_MAX 64 /* bytes of a word */
#define MPP_ROOM_MIN 256  /* number of anchors that there must always be room for */

/* Anchors that are not words. Each comment says what the anchor's offset points to. Words are numbered behind the
 * forms. */
enum mpp_form {
    MPP_FORM_AT,       /* the at sign of an e-mail address */
    MPP_FORM_COLONS,   /* a colon of an IPv6 address */
    MPP_FORM_DOTS,     /* the first full stop of an IPv4 address */
    MPP_FORM_NANP,     /* the first of ten digits in groups of 3, 3 and 4 */
    MPP_FORM_SPACED,   /* the first of ten to thirteen digits with spaces between them */
    MPP_FORM_PLUS,     /* the plus of an international telephone number */
    MPP_FORM_SSN,      /* the first hyphen of digits in groups of 3, 2 and 4 */
    MPP_FORM_DIGITS,   /* the first of twelve or more digits with separators */
    MPP_FORM_PAIRS,    /* the first separator of six pairs of hexadecimal digits */
    MPP_FORM_QUADS,    /* the first full stop of three groups of four hexadecimal digits */
    MPP_FORM_IBAN,     /* the first digit behind two letters that an IBAN starts with */
    MPP_FORM_USERINFO, /* the colon of :// where a user name and a password follow */
    MPP_FORM_USER,     /* the hyphen of an option whose value is user:password */
    MPP_FORM_VIN,      /* the first of exactly 17 letters and digits */
    MPP_FORM_WALLET,  /* the first character of a word that has the length and the start of a crypto-currency address */
    MPP_FORM_DISCORD, /* the first of three parts separated by full stops, the middle one of six characters */
    MPP_FORM_BASE64,  /* the first of 16 or more characters that are printable text in base64 */
    MPP_FORM_ESCAPE,  /* an escape of a printable character, of URLs, JSON or HTML */
    MPP_FORM_LOOKALIKE, /* the place where a digit meets a letter that looks like a digit */
    MPP_FORM_CONTROL,   /* the first of some control characters: without them the text reads differently */
    MPP_FORM_BARE,      /* the first of exactly ten digits, or eleven that start with 1 */
    MPP_FORM_MARKUP,    /* emphasis, an escape or a tag between the characters of a possible value */
    MPP_FORM_RANDOM,    /* the first of 20 or more letters and digits that are mixed as in no word */
    MPP_FORM_NUMBER,    /* the first of some digits that are written like an identifier of a person */
    MPP_FORM_CODE,      /* the first of some letters and digits that are written like one */
    MPP_FORMS
};

struct mpp_needle {
    uint32_t offset; /* offset of its first byte among the words */
    uint16_t length;
    uint16_t checks; /* MPP_NEEDLE_* */
    uint32_t twin;   /* number + 1 of an earlier needle with the same word, 0 for none */
    uint32_t need;
};

/* mpp_automaton_build fills this in. The caller owns all of the memory, and says how much there is. */
struct mpp_automaton {
    const uint8_t *words;
    const struct mpp_needle *needles;
    uint32_t needle_count;
    uint32_t state_room; /* number of entries in fail, output and link: one more than the bytes of all words */
    uint32_t state_count;
    uint32_t next_room; /* number of entries in next */
    uint32_t classes;
    uint32_t *next;   /* state * classes + class -> the next state * classes, and MPP_ENDS if a word ends there */
    uint32_t *fail;   /* state -> state of its longest proper suffix */
    uint32_t *output; /* state -> number + 1 of the needle that ends there */
    uint32_t *link;   /* state -> state of the next shorter needle that also ends there */
    uint8_t class_of[256];
};

struct mpp_anchor {
    uint32_t at;
    uint32_t what; /* enum mpp_form, or MPP_FORMS + number of a needle */
};

/* The progress of a scan: all zero at first. */
struct mpp_scan {
    uint32_t at;
    uint32_t state;      /* as in next, without MPP_ENDS */
    uint32_t digits_end; /* the ends of the runs that have been read already */
    uint32_t word_end;
    uint32_t token_end;
};

/* Returns 0, or -1 if a word is empty, too long or not among the words, or if the room is too small. */
int mpp_automaton_build(struct mpp_automaton *automaton, uint32_t words_size);

/* Continues the scan up to `end`, or until the room is nearly full. Returns the number of anchors that it has written.
 * The offsets of words that end at the same place are not in order. `size` is at most 2^31. */
uint32_t mpp_scan_text(const struct mpp_automaton *automaton, const uint8_t *text, uint32_t size, uint32_t end,
                       struct mpp_scan *scan, struct mpp_anchor *found, uint32_t room);

/* The same, but only for MPP_FORM_LOOKALIKE and MPP_FORM_CONTROL: the places where a text can be read in another
 * way. */
uint32_t mpp_scan_marks(const uint8_t *text, uint32_t size, uint32_t end, struct mpp_scan *scan,
                        struct mpp_anchor *found, uint32_t room);
