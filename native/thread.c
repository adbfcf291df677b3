/* Threads on the host's side. They block all signals, since the host's signals are for the host's own threads. */
#include <pthread.h>
#include <signal.h>

#include "sandbox.h"

#define STACK_SIZE ((size_t)256 * 1024)

int mpp_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int error = pthread_attr_init(&attributes);

    if (error != 0) return error;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_attr_setstacksize(&attributes, STACK_SIZE);
    if (error == 0) error = pthread_create(thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}
