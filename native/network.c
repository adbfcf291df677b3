/* The network of a sandbox that was granted destinations: loopback, and sockets that lead to the broker.
 *
 * Loopback is the only interface, so no packet leaves the sandbox. The sockets are made here, since a socket always
 * belongs to the network namespace that it was made in. The owner gets them before the tool is forked, and no process
 * inside keeps one. Nothing accepts connections yet: at the release the owner calls listen(2), and bind(2) on the
 * socket for names. */
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <string.h>

#include "init.h"
#include "kernel.h"
#include "sys.h"

#define LOOPBACK 1 /* the index of lo: the first interface of every namespace */

/* The C library's values; the kernel's headers leave these constants to the C library. */
#define UNSPEC 0
#define INET 2
#define STREAM 1
#define DATAGRAM 2
#define RAW 3
#define CLOSE_ON_EXEC 02000000

struct answer { /* the answer to a request with NLM_F_ACK: an error, and a copy of the request */
    struct nlmsghdr head;
    struct nlmsgerr error;
    uint8_t rest[256];
};

/* Sends one rtnetlink(7) request, and returns the kernel's answer. */
static long ask(long socket, const void *request, size_t size)
{
    struct answer answer;
    long got = sys6(SYS_sendto, socket, (long)request, (long)size, 0, 0, 0);

    if (got < 0) return got;
    got = sys6(SYS_recvfrom, socket, (long)&answer, sizeof answer, 0, 0, 0);
    if (got < 0) return got;
    if ((size_t)got < offsetof(struct answer, rest) || answer.head.nlmsg_type != NLMSG_ERROR) return -EPROTO;
    return answer.error.error;
}

static long bring_up(long socket)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg link;
    } request = {
        { sizeof request, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0 },
        { .ifi_family = UNSPEC, .ifi_index = LOOPBACK, .ifi_flags = IFF_UP, .ifi_change = IFF_UP },
    };

    return ask(socket, &request, sizeof request);
}

static long add_address(long socket, const struct mpp_address *address)
{
    struct {
        struct nlmsghdr head;
        struct ifaddrmsg what;
        struct rtattr local;
        uint8_t bytes[sizeof address->bytes];
    } request = {
        { 0, RTM_NEWADDR, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 1, 0 },
        { .ifa_family = (uint8_t)address->family, .ifa_flags = IFA_F_NODAD, .ifa_index = LOOPBACK },
        { .rta_type = IFA_LOCAL },
        { 0 },
    };
    uint32_t size = address->family == INET ? 4 : 16;
    long error;

    request.what.ifa_prefixlen = (uint8_t)(size * 8);
    request.local.rta_len = (unsigned short)(sizeof request.local + size);
    request.head.nlmsg_len = (uint32_t)(offsetof(__typeof__(request), bytes) + size);
    memcpy(request.bytes, address->bytes, size);
    error = ask(socket, &request, request.head.nlmsg_len);
    return error == -EEXIST ? 0 : error;
}

static long bound_stream(const struct mpp_stream *stream)
{
    struct sockaddr_in any = { .sin_family = (uint16_t)stream->family,
                               .sin_port = __builtin_bswap16((uint16_t)stream->port) };
    struct sockaddr_in6 any6 = { .sin6_family = (uint16_t)stream->family,
                                 .sin6_port = __builtin_bswap16((uint16_t)stream->port) };
    int only = 1;
    long socket = sys3(SYS_socket, stream->family, STREAM | CLOSE_ON_EXEC, 0);
    long error;

    if (socket < 0) return socket;
    if (stream->family == INET) {
        error = sys3(SYS_bind, socket, &any, sizeof any);
    } else {
        error = sys5(SYS_setsockopt, socket, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
        if (error == 0) error = sys3(SYS_bind, socket, &any6, sizeof any6);
    }
    if (error == 0) return socket;
    sys1(SYS_close, socket);
    return error;
}

/* Bounds the kernel's buffers of each connection, in both directions. (Libraries may ask for other sizes, but the
 * seccomp program answers these requests without making them.) Otherwise the buffers are megabytes for each of a tool's
 * descriptors, and only a cgroup counts them. The bounds are set while the host's /proc is still there: each process
 * sees its own network in it. */
static long bound_buffers(void)
{
    /* No pointers here, since nothing relocates this program. */
    static const char names[][28] = { "/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem" };
    static const char bounds[] = "4096 65536 262144";
    long error = 0;

    for (size_t i = 0; i < sizeof names / sizeof names[0] && error >= 0; i++) {
        long file = sys4(SYS_openat, AT_FDCWD, names[i], O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0);

        if (file < 0) return file;
        error = sys3(SYS_write, file, bounds, sizeof bounds - 1);
        sys1(SYS_close, file);
    }
    return error < 0 ? error : 0;
}

long network_up(const struct init_context *context, uint32_t *detail)
{
    const struct mpp_plan *plan = context->plan;
    const struct mpp_address *addresses = (const void *)(context->base + plan->addresses.offset);
    long socket = sys3(SYS_socket, 16 /* AF_NETLINK */, RAW | CLOSE_ON_EXEC, NETLINK_ROUTE);
    long error;

    *detail = 0;
    if (socket < 0) return socket;
    error = bring_up(socket);
    for (uint32_t i = 0; i < plan->addresses.count && error == 0; i++) {
        *detail = i + 1;
        error = add_address(socket, &addresses[i]);
    }
    sys1(SYS_close, socket);
    if (error < 0) return error;
    *detail = plan->addresses.count + plan->streams.count + 2;
    error = bound_buffers();
    return plan->few_buffers ? error : 0;
}

long network_sockets(const struct init_context *context, int *sockets, uint32_t *detail)
{
    const struct mpp_plan *plan = context->plan;
    const struct mpp_stream *streams = (const void *)(context->base + plan->streams.offset);

    *detail = plan->addresses.count + 1;
    for (uint32_t i = 0; i <= plan->streams.count; i++, ++*detail) {
        long made = i == 0 ? sys3(SYS_socket, INET, DATAGRAM | CLOSE_ON_EXEC, 0) : bound_stream(&streams[i - 1]);

        if (made < 0) return made;
        sockets[i] = (int)made;
    }
    return 0;
}
