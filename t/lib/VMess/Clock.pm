package VMess::Clock;

# Clocks that a test sets: nginx gets its time through a library.  To be used
# before TestVMess.
#
#   set_clock(wall => 3600);            # an hour ahead of the real one
#   set_clock(monotonic => 61);         # a minute has passed, of all that was
#   stop_clock();                       # that of timers stands where it is now
#   stop_clock(2);                      # two seconds after that
#   stop_clock(undef);                  # it goes on

use v5.20;
use strict;
use warnings;

use Exporter qw(import);
use File::Temp qw(tempdir);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

our @EXPORT = qw(set_clock stop_clock);

my $dir = tempdir('vmess-clock-XXXXXX', TMPDIR => 1, CLEANUP => 1);

open my $fh, '>', "$dir/clock.c" or die $!;
print $fh <<'C';
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static char  wall[256], monotonic[256], stopped[256];

static void __attribute__((constructor))
init(void)
{
    char  *dir = getenv("VMESS_TEST_CLOCK");

    /* nginx writes its title over the environment */

    if (dir) {
        snprintf(wall, sizeof(wall), "%s/wall", dir);
        snprintf(monotonic, sizeof(monotonic), "%s/monotonic", dir);
        snprintf(stopped, sizeof(stopped), "%s/stopped", dir);
    }
}

static long
offset(char *path)
{
    int   fd, n;
    char  buf[32];

    fd = open(path, O_RDONLY);

    if (fd == -1) {
        return 0;
    }

    n = read(fd, buf, sizeof(buf) - 1);
    buf[n > 0 ? n : 0] = '\0';
    close(fd);

    return atol(buf);
}

int
gettimeofday(struct timeval *tv, void *tz)
{
    struct timespec  ts;

    syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts);

    tv->tv_sec = ts.tv_sec + offset(wall);
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int   rc;
    long  ms;

    rc = syscall(SYS_clock_gettime, id, ts);

    if (id != CLOCK_REALTIME) {
        ts->tv_sec += offset(monotonic);

        ms = offset(stopped);

        if (ms) {
            ts->tv_sec = ms / 1000;
            ts->tv_nsec = ms % 1000 * 1000000;
        }
    }

    return rc;
}
C
close $fh;

system($ENV{CC} || 'cc', '-shared', '-fPIC', '-o', "$dir/clock.so",
       "$dir/clock.c") == 0 or die "no library of a clock\n";

chmod 0755, $dir;

$ENV{VMESS_TEST_CLOCK} = $dir;
$ENV{ASAN_OPTIONS} = join ',', 'verify_asan_link_order=0', $ENV{ASAN_OPTIONS} // ();
$ENV{TEST_NGINX_LD_PRELOAD} = join ' ', $ENV{TEST_NGINX_LD_PRELOAD} // (),
                                   "$dir/clock.so";


# seconds that are added from now on; the first time is before nginx starts

sub set_clock {
    my ($name, $seconds) = @_;
    put($name, $seconds);
}

# no timer expires that would do so later, until it goes on with "undef"

sub stop_clock {
    my ($seconds) = @_ ? @_ : 0;
    state $now;
    return unlink "$dir/stopped" if !defined $seconds;
    $now = clock_gettime(CLOCK_MONOTONIC) if !-e "$dir/stopped";
    put(stopped => int(($now + $seconds) * 1000));
}

sub put {
    my ($name, $value) = @_;
    open my $fh, '>', "$dir/new" or die $!;
    print $fh $value;
    close $fh;
    rename "$dir/new", "$dir/$name" or die $!;
}

1;
