/* Counts the instructions that a program executes under qemu-user 4.2 or later.
 *
 * gcc -O2 -shared -fPIC benches/count.c -o count.so
 * qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu cortex-a76 -plugin ./count.so PROGRAM
 *
 * The emulator translates blocks of instructions; each gets a counter of its executions. The
 * plugin interface is declared here because Debian ships no header for it. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
extern void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_atexit_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { ADD = 0, BLOCKS = 1 << 20 };
static struct block { uint64_t instructions, executions; } *blocks;
static size_t used;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    if (used == BLOCKS) abort();
    struct block *block = &blocks[used++];
    block->instructions = qemu_plugin_tb_n_insns(tb);
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &block->executions, 1);
}

static void ended(qemu_plugin_id_t id, void *unused) {
    (void)id, (void)unused;
    uint64_t sum = 0;
    for (size_t i = 0; i < used; i++) sum += blocks[i].instructions * blocks[i].executions;
    fprintf(stderr, "instructions %llu\n", (unsigned long long)sum);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    blocks = calloc(BLOCKS, sizeof *blocks);
    if (!blocks) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
