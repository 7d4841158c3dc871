
/*
 * Allocations of a worker fail now and then: one in $VMESS_FAIL_ALLOC, by
 * chance, in its event loop.  Without that variable nothing changes.  The
 * functions that are wrapped stand in "config".
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


void *__real_malloc(size_t size);
int __real_posix_memalign(void **p, size_t alignment, size_t size);
void *__real_ngx_slab_alloc(ngx_slab_pool_t *pool, size_t size);
void *__real_ngx_slab_alloc_locked(ngx_slab_pool_t *pool, size_t size);
void __real_ngx_process_events_and_timers(ngx_cycle_t *cycle);


static unsigned long  one_in;
static int            looping;


static int
fails(void)
{
    return looping && one_in && random() % one_in == 0;
}


void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}


int
__wrap_posix_memalign(void **p, size_t alignment, size_t size)
{
    return fails() ? ENOMEM : __real_posix_memalign(p, alignment, size);
}


void *
__wrap_ngx_slab_alloc(ngx_slab_pool_t *pool, size_t size)
{
    return fails() ? NULL : __real_ngx_slab_alloc(pool, size);
}


void *
__wrap_ngx_slab_alloc_locked(ngx_slab_pool_t *pool, size_t size)
{
    return fails() ? NULL : __real_ngx_slab_alloc_locked(pool, size);
}


void
__wrap_ngx_process_events_and_timers(ngx_cycle_t *cycle)
{
    static int   started;
    const char  *s;

    if (!started) {
        started = 1;
        s = getenv("VMESS_FAIL_ALLOC");

        if (s && ngx_process == NGX_PROCESS_WORKER) {
            srandom(ngx_pid);
            one_in = strtoul(s, NULL, 10);
        }
    }

    looping = 1;

    __real_ngx_process_events_and_timers(cycle);

    looping = 0;
}
