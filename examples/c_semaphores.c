/* The C half of the c_semaphores example: adds to an account in a segment that a semaphore guards, as
 * the programs of the textbooks do. It knows nothing of Rust. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

struct account {
    uint64_t balance;
    uint64_t entries;
    char last[48];
};

_Static_assert(sizeof(struct account) == 64, "the Rust struct has 64 bytes");

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* P and V of the textbooks: SEM_UNDO has the kernel give back what a process holds when it ends. */
static int change(int set, short by)
{
    struct sembuf operation = {0, by, SEM_UNDO};
    return semop(set, &operation, 1);
}

static int create(key_t key)
{
    int set = semget(key, 1, IPC_CREAT | IPC_EXCL | 0600);
    if (set == -1)
        return -1;
    /* Who opens the set before the first semop below sees no sem_otime, and has to wait for it. */
    if (semctl(set, 0, SETVAL, (union semun){.val = 1}) == -1)
        return -1;
    return set;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: c_semaphores create|open|hold file entries\n");
        return 2;
    }
    int creates = strcmp(argv[1], "create") == 0, entries = atoi(argv[3]);
    key_t key = ftok(argv[2], creates ? 'c' : 'o');
    int segment = shmget(key, sizeof(struct account), creates ? IPC_CREAT | IPC_EXCL | 0600 : 0);
    if (segment == -1)
        return fail("shmget");
    struct account *account = shmat(segment, NULL, 0);
    if (account == (void *)-1)
        return fail("shmat");
    int set = creates ? create(key) : semget(key, 1, 0);
    if (set == -1)
        return fail("semget");

    if (strcmp(argv[1], "hold") == 0) {
        if (change(set, -1) == -1)
            return fail("semop");
        puts("held"), fflush(stdout);
        /* Until it is killed, or its parent has gone. */
        return getchar() == EOF ? 1 : 0;
    }
    if (creates)
        puts("created"), fflush(stdout);
    for (int entry = 0; entry < entries; entry++) {
        if (change(set, -1) == -1)
            return fail("semop");
        /* None of this is atomic. */
        account->balance += 3;
        snprintf(account->last, sizeof account->last, "C after %llu",
                 (unsigned long long)account->entries);
        account->entries++;
        if (change(set, 1) == -1)
            return fail("semop");
    }
    return shmdt(account) == -1 ? fail("shmdt") : 0;
}
