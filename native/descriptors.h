/* What is done with descriptors everywhere. */
#ifndef MPP_DESCRIPTORS_H
#define MPP_DESCRIPTORS_H

#include <stddef.h>
#include <sys/types.h>

#define MPP_SENT_MAX 253 /* SCM_MAX_FD, net/scm.h */
#define MPP_RECEIVED_MAX 65

void mpp_close(int *fd);

/* Sends one message and *count* descriptors with it (SCM_RIGHTS, unix(7)). Returns 0 or an errno. */
int mpp_send(int socket, const void *data, size_t size, const int *descriptors, size_t count);

/* Receives one, as recv(2), and at most MPP_RECEIVED_MAX descriptors that came with it, close-on-exec, in *descriptors*. A
 * message that is longer, or brings more or something else, is EPROTO, and nothing that came with it stays open. */
ssize_t mpp_receive(int socket, void *data, size_t size, int *descriptors, size_t most, size_t *count);

/* Reads what the kernel says in a file, from an absolute path or in a folder, as text that ends in NUL; what does not fit is
 * left out. Returns its length, or -errno. */
ssize_t mpp_read_text(int folder, const char *name, char *text, size_t room);

#endif
