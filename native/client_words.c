/* Decides which command lines a resident runtime could answer. A command line that is not understood here is left
 * entirely to Python. */
#include <string.h>

#include "client.h"

/* Returns the value of an option that is NAME=VALUE, or NAME with VALUE as the next word; NULL for any other word. */
static const char *value_of(const char *name, int count, char **words, int *at)
{
    size_t length = strlen(name);
    const char *word = words[*at];

    if (strncmp(word, name, length) != 0) return NULL;
    if (word[length] == '=') return word + length + 1;
    if (word[length] != '\0' || *at + 1 >= count) return NULL;
    return words[++*at];
}

static int take(const char **place, const char *value)
{
    /* The same option twice, or an empty value: Python decides what that means. */
    if (*place || !*value) return 0;
    *place = value;
    return 1;
}

/* Reads a command line of mcp, which serves the tools of some packages, or of all of them. */
static int read_connection(int at, int count, char **words, struct command *command)
{
    for (; at < count; at++) {
        const char *value;

        if ((value = value_of("--home", count, words, &at))) {
            if (!take(&command->home, value)) return 0;
        } else if (!value_of("--package", count, words, &at)) {
            return 0;
        }
    }
    command->connects = 1;
    return !command->json && !(command->home && command->home[0] == '~');
}

int read_command(int count, char **words, struct command *command)
{
    const char *arguments = NULL;
    const char *timeout = NULL;
    int at = 1;

    memset(command, 0, sizeof *command);
    command->count = count - 1;
    command->words = words + 1;
    for (; at < count && words[at][0] == '-'; at++) {
        const char *value;

        if (strcmp(words[at], "--json") == 0) {
            command->json = 1;
            continue;
        }
        value = value_of("--home", count, words, &at);
        if (!value || !take(&command->home, value)) return 0;
    }
    if (at < count && strcmp(words[at], "mcp") == 0) return read_connection(at + 1, count, words, command);
    if (at >= count || strcmp(words[at], "run") != 0) return 0;
    for (at++; at < count && strcmp(words[at], "--") != 0; at++) {
        const char *value;

        if (words[at][0] != '-' || strcmp(words[at], "-") == 0) continue;
        if (strcmp(words[at], "--json") == 0)
            command->json = 1;
        else if (strcmp(words[at], "--confirm") == 0)
            continue;
        else if ((value = value_of("--home", count, words, &at))) {
            if (!take(&command->home, value)) return 0;
        } else if ((value = value_of("--args", count, words, &at))) {
            if (!take(&arguments, value)) return 0;
        } else if ((value = value_of("--timeout", count, words, &at))) {
            if (!take(&timeout, value)) return 0;
        } else
            return 0;
    }
    if (command->home && command->home[0] == '~') return 0;
    if (arguments && (arguments[0] == '@' || strcmp(arguments, "-") == 0)) command->input = arguments;
    return 1;
}
