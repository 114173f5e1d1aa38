/* The C half of the c_segment example: the writer or the reader of the textbooks, which hand each
 * other texts in a segment. It knows nothing of Rust, only the struct and the file that ftok makes
 * the key of. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

struct shared {
    atomic_int written;
    char text[2048];
};

_Static_assert(sizeof(struct shared) == 2052, "the Rust struct has 2052 bytes");

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* Waits until the other side has written, or has read. Its end ends this program too. */
static void await_written(struct shared *shared, int written, pid_t parent)
{
    while (atomic_load_explicit(&shared->written, memory_order_acquire) != written) {
        if (getppid() != parent)
            exit(1);
        sched_yield();
    }
}

static void line(char *text, int number)
{
    int length = snprintf(text, 2048, "line %d ", number);
    memset(text + length, 'a' + number % 26, 2047 - length);
    text[2047] = '\0';
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: c_segment write|read file lines\n");
        return 2;
    }
    pid_t parent = getppid();
    int writes = strcmp(argv[1], "write") == 0, lines = atoi(argv[3]);
    /* The writer creates the segment, the reader opens it. */
    int flags = writes ? IPC_CREAT | IPC_EXCL | 0600 : 0;
    int id = shmget(ftok(argv[2], writes ? 'w' : 'r'), sizeof(struct shared), flags);
    if (id == -1)
        return fail("shmget");
    struct shared *shared = shmat(id, NULL, 0);
    if (shared == (void *)-1)
        return fail("shmat");
    if (writes)
        puts("created"), fflush(stdout);

    for (int number = 0; number < lines; number++) {
        char expected[2048];
        line(expected, number);
        if (writes) {
            await_written(shared, 0, parent);
            memcpy(shared->text, expected, sizeof expected);
            atomic_store_explicit(&shared->written, 1, memory_order_release);
        } else {
            await_written(shared, 1, parent);
            if (memcmp(shared->text, expected, sizeof expected) != 0) {
                fprintf(stderr, "line %d arrived damaged\n", number);
                return 1;
            }
            atomic_store_explicit(&shared->written, 0, memory_order_release);
        }
    }
    /* The one that created it removes it, when the last line was read. */
    if (writes) {
        await_written(shared, 0, parent);
        if (shmctl(id, IPC_RMID, NULL) == -1)
            return fail("shmctl");
    }
    return shmdt(shared) == -1 ? fail("shmdt") : 0;
}
