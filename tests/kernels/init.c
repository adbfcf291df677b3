/* PID 1 of a guest: loads the modules of its disks, makes the system disk the root, runs the tests, and says
 * how they ended on the console, with the word that the driver gave this boot.
 *
 * It leaves the initial ramdisk (pivot_root is impossible on one), so that what runs below finds a root
 * like that of any machine. When it ends, whatever the reason, the machine stops. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define DISK_ATTEMPTS 3000 /* of 10 ms: software emulation probes slowly */

static _Noreturn void stop(void)
{
    sync();
    reboot(RB_AUTOBOOT); /* the driver starts the emulator with -no-reboot */
    for (;;) pause();
}

static void must(int held, const char *what)
{
    if (held) return;
    printf("guest: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    stop();
}

static void make(const char *type, const char *at, unsigned long flags, const char *options)
{
    mkdir(at, 0755);
    must(mount(type, at, type, flags, options) == 0, at);
}

/* In the order of their numbers: the driver sorted them by what needs what. */
static void load_modules(void)
{
    char path[64];
    int fd;

    for (int number = 0;; number++) {
        snprintf(path, sizeof path, "/modules/%02d.ko", number);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return;
        must(syscall(SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST, path);
        close(fd);
    }
}

static void mount_disk(const char *device, const char *at)
{
    const struct timespec pause_between = { 0, 10000000 };

    for (int i = 0; access(device, F_OK) != 0 && i < DISK_ATTEMPTS; i++) nanosleep(&pause_between, NULL);
    must(mount(device, at, "ext4", MS_NOATIME, NULL) == 0, device);
}

static void raise_loopback(void)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    must(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0, "lo");
    close(fd);
}

static void word_of_this_boot(char *word, size_t room)
{
    char line[1024] = { 0 };
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    const char *at;

    must(fd >= 0 && read(fd, line, sizeof line - 1) > 0, "/proc/cmdline");
    close(fd);
    at = strstr(line, "mpp.word=");
    snprintf(word, room, "%.*s", at == NULL ? 0 : (int)strcspn(at + 9, " \n"), at == NULL ? "" : at + 9);
}

int main(void)
{
    char *const command[] = { "/usr/bin/python3", "-u", "/mpp/tests/kernels/inside.py", NULL };
    char *const environment[] = { "PATH=/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8", NULL };
    char word[64];
    int status = 0;
    pid_t runner;
    pid_t ended;

    make("devtmpfs", "/dev", MS_NOSUID, NULL);
    make("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    word_of_this_boot(word, sizeof word);
    load_modules();
    mkdir("/system", 0755);
    mount_disk("/dev/vda", "/system");
    mkdir("/system/mpp", 0755);
    mount_disk("/dev/vdb", "/system/mpp");
    must(chdir("/system") == 0 && mount(".", "/", NULL, MS_MOVE, NULL) == 0 && chroot(".") == 0 && chdir("/") == 0,
         "switching to the system's root");
    make("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    make("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    make("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    make("devtmpfs", "/dev", MS_NOSUID, NULL);
    make("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
    make("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
    make("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
    /* /tmp is on the disk, so that a root host can map ids there on every kernel; here it may not be able to. */
    make("tmpfs", "/srv", MS_NOSUID | MS_NODEV, "mode=1777");
    raise_loopback();

    runner = fork();
    must(runner >= 0, "fork");
    if (runner == 0) {
        setsid();
        execve(command[0], command, environment);
        printf("guest: %s: %s\n", command[0], strerror(errno));
        fflush(stdout);
        _exit(127);
    }
    do ended = wait(&status); /* orphans, too */
    while (ended != runner && (ended > 0 || errno == EINTR));
    printf("\nguest %s ended with %d\n", word, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
    tcdrain(1);
    stop();
}
