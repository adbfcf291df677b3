/* Finds the home, and opens the folder of its socket: without following a link, and only if it belongs to this user. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define RESTART_AFTER 10 /* seconds from one start on demand to the next attempt */

static int is_absolute(const char *path)
{
    return path && path[0] == '/';
}

/* Resolves the home's path as registry/home.py does. Returns 0 if that needs more than environment variables. */
static int home_path(const struct command *command, char path[PATH_MAX])
{
    const char *named = command->home ? command->home : getenv("MPP_HOME");
    const char *data = getenv("XDG_DATA_HOME");
    const char *user = getenv("HOME");
    int length;

    if (named && *named)
        length = snprintf(path, PATH_MAX, "%s", named);
    else if (is_absolute(data))
        length = snprintf(path, PATH_MAX, "%s/mpp-exec", data);
    else if (is_absolute(user))
        length = snprintf(path, PATH_MAX, "%s/.local/share/mpp-exec", user);
    else
        return 0;
    return length > 0 && length < PATH_MAX;
}

static int is_own_folder(int fd, mode_t closed, struct stat *facts)
{
    return fstat(fd, facts) == 0 && S_ISDIR(facts->st_mode) && facts->st_uid == geteuid() && !(facts->st_mode & closed);
}

int open_serve_folder(const struct command *command, char home[HOME_NAME])
{
    char path[PATH_MAX];
    struct stat facts;
    struct stat inner;
    int folder;
    int fd;

    if (!home_path(command, path)) return -1;
    fd = open(path, FOLDER_FLAGS);
    if (fd < 0) return -1;
    folder = openat(fd, SERVE_FOLDER, FOLDER_FLAGS);
    if (folder >= 0 && (!is_own_folder(fd, 022, &facts) || !is_own_folder(folder, 077, &inner))) {
        close(folder);
        folder = -1;
    }
    close(fd);
    if (folder < 0) return -1;
    snprintf(home, HOME_NAME, "%llu:%llu", (unsigned long long)facts.st_dev, (unsigned long long)facts.st_ino);
    return folder;
}

int is_served(int folder)
{
    struct stat facts;

    return fstatat(folder, SERVE_SOCKET, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(facts.st_mode) &&
           facts.st_uid == geteuid();
}

/* Returns the seconds of the setting, or 0 if there is no setting or a runtime was started just now. */
static long wanted_on_demand(int folder)
{
    struct timespec times[2] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };
    char text[16] = { 0 };
    struct stat facts;
    long seconds = 0;
    time_t now = time(NULL);
    int fd = openat(folder, SERVE_SETTING, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) return 0;
    if (fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_uid == geteuid() &&
        (facts.st_mtime > now || now - facts.st_mtime >= RESTART_AFTER) && read(fd, text, sizeof text - 1) > 0)
        seconds = strtol(text, NULL, 10);
    if (seconds > 0 && futimens(fd, times) != 0) seconds = 0;
    close(fd);
    return seconds;
}

static void become_runtime(const char *home, const char *python, long seconds)
{
    char idle[24];
    char *words[] = { (char *)python, "--home", (char *)home, "serve", "--idle", idle, NULL };
    int null = open("/dev/null", O_RDWR);

    snprintf(idle, sizeof idle, "%ld", seconds);
    setsid();
    if (fork() != 0) _exit(0);
    if (null < 0 || chdir("/") != 0) _exit(1);
    /* So that nobody waits for the end of a pipe that the runtime holds open. */
    for (int fd = 0; fd <= 2; fd++) dup2(null, fd);
    close_range(3, UINT_MAX, 0);
    execv(python, words);
    _exit(1);
}

void start_on_demand(int folder, const struct command *command, const char *python)
{
    long seconds;
    char path[PATH_MAX];
    char full[PATH_MAX];
    pid_t child;

    /* A confined runtime would serve nobody else, and would keep another one from being started. */
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) return;
    seconds = wanted_on_demand(folder);
    if (seconds <= 0 || !home_path(command, path) || !realpath(path, full)) return;
    child = fork();
    if (child == 0) become_runtime(full, python, seconds);
    if (child > 0) waitpid(child, NULL, 0);
}
