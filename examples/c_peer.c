/* The C half of the c_peer example: takes orders from one queue, checks each, and answers it on
 * another. It knows nothing of Rust, only the struct and the file that ftok makes the keys of. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>

struct order {
    uint64_t id;
    double price;
    uint32_t quantity;
    char symbol[12];
};

struct message {
    long mtype;
    struct order order;
};

_Static_assert(sizeof(struct order) == 32, "the Rust struct has 32 bytes");

enum { ORDER = 1, STOP = 2 };

static int fail(const char *what)
{
    perror(what);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: c_peer file\n");
        return 2;
    }
    int orders = msgget(ftok(argv[1], 'o'), 0);
    int fills = msgget(ftok(argv[1], 'f'), 0);
    if (orders == -1 || fills == -1)
        return fail("msgget");

    for (uint64_t expected = 0;; expected++) {
        struct message message;
        char symbol[12] = "";
        ssize_t size = msgrcv(orders, &message, sizeof message.order, 0, 0);
        if (size == -1)
            return fail("msgrcv");
        if (message.mtype == STOP)
            return 0;
        snprintf(symbol, sizeof symbol, "SYM%03u", (unsigned)(expected % 1000));
        if (size != sizeof message.order || message.mtype != ORDER || message.order.id != expected ||
            message.order.price != (double)expected * 0.25 ||
            message.order.quantity != (uint32_t)expected * 3 ||
            memcmp(message.order.symbol, symbol, sizeof symbol) != 0) {
            fprintf(stderr, "order %llu arrived damaged\n", (unsigned long long)expected);
            return 1;
        }
        /* Every seventh order is filled by half only, and says so by its type. */
        message.mtype = expected % 7 == 0 ? 2 : 1;
        message.order.quantity /= (uint32_t)message.mtype;
        message.order.price += 1;
        if (msgsnd(fills, &message, sizeof message.order, 0) == -1)
            return fail("msgsnd");
    }
}
