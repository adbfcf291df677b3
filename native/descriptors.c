/* Closes, reads, sends and receives descriptors. For the host and for the template. */
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void mpp_close(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

int mpp_send(int socket, const void *data, size_t size, const int *descriptors, size_t count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int) * MPP_SENT_MAX)];
    } with;
    struct iovec vector = { (void *)(uintptr_t)data, size };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
    size_t carried = sizeof(int) * count;
    ssize_t sent;

    if (count > MPP_SENT_MAX) return E2BIG;
    if (count > 0) {
        memset(&with, 0, CMSG_SPACE(carried));
        message.msg_control = &with;
        message.msg_controllen = CMSG_SPACE(carried);
        with.head.cmsg_level = SOL_SOCKET;
        with.head.cmsg_type = SCM_RIGHTS;
        with.head.cmsg_len = CMSG_LEN(carried);
        memcpy(CMSG_DATA(&with.head), descriptors, carried);
    }
    do sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) return errno;
    return (size_t)sent == size ? 0 : EMSGSIZE;
}

ssize_t mpp_receive(int socket, void *data, size_t size, int *descriptors, size_t most, size_t *count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int) * MPP_RECEIVED_MAX)];
    } with;
    struct iovec vector = { data, size };
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &with, .msg_controllen = sizeof with
    };
    const struct cmsghdr *head;
    int received[MPP_RECEIVED_MAX];
    size_t carried = 0;
    int foreign = 0;
    ssize_t got;

    *count = 0;
    do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0) return got;
    if ((head = CMSG_FIRSTHDR(&message)) != NULL) {
        foreign = head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS;
        if (!foreign) carried = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(received, CMSG_DATA(head), carried * sizeof(int));
    }
    if (foreign || carried > most || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        for (size_t i = 0; i < carried; i++) mpp_close(&received[i]);
        errno = EPROTO;
        return -1;
    }
    memcpy(descriptors, received, carried * sizeof(int));
    *count = carried;
    return got;
}

ssize_t mpp_read_text(int folder, const char *name, char *text, size_t room)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t got = fd < 0 ? -1 : read(fd, text, room - 1);
    int error = errno;

    mpp_close(&fd);
    if (got < 0) return -error;
    text[got] = '\0';
    return got;
}
