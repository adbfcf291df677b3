/* Operations on descriptors that every part uses. */
#ifndef MPP_DESCRIPTORS_H
#define MPP_DESCRIPTORS_H

#include <stddef.h>
#include <sys/types.h>

#define MPP_SENT_MAX 253 /* SCM_MAX_FD, net/scm.h */
#define MPP_RECEIVED_MAX 65

void mpp_close(int *fd);

/* Sends one message together with *count* descriptors (SCM_RIGHTS, unix(7)). Returns 0 or an errno. */
int mpp_send(int socket, const void *data, size_t size, const int *descriptors, size_t count);

/* Receives one message, as recv(2) does, and puts at most *most* descriptors that came with it (MPP_RECEIVED_MAX is the
 * limit) into *descriptors*, close-on-exec. If the message is longer, or carries more descriptors or anything else, the
 * error is EPROTO, and no descriptor that came with it stays open. */
ssize_t mpp_receive(int socket, void *data, size_t size, int *descriptors, size_t most, size_t *count);

/* Reads a file of the kernel, named by an absolute path or relative to a folder, as text that ends in NUL. Text that
 * does not fit is left out. Returns the text's length, or -errno. */
ssize_t mpp_read_text(int folder, const char *name, char *text, size_t room);

#endif
