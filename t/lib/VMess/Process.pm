package VMess::Process;

# Processes of nginx as a test wants them, through a library.  To be used before
# TestVMess.
#
#   slow_turns(200);        # each turn of their event loops takes so many ms more
#   slow_turns(0);          # at once, for who waits as well
#   reuse_pids(1);          # a pid of who has gone is that of somebody else
#   reuse_pids(0);

use v5.20;
use strict;
use warnings;

use Exporter qw(import);
use File::Temp qw(tempdir);

our @EXPORT = qw(slow_turns reuse_pids);

my $dir = tempdir('vmess-process-XXXXXX', TMPDIR => 1, CLEANUP => 1);

open my $fh, '>', "$dir/process.c" or die $!;
print $fh <<'C';
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static char  slow[256], reuse[256];

static void __attribute__((constructor))
init(void)
{
    char  *dir = getenv("VMESS_TEST_PROCESS");

    /* nginx writes its title over the environment */

    snprintf(slow, sizeof(slow), "%s/slow", dir ? dir : "");
    snprintf(reuse, sizeof(reuse), "%s/reuse", dir ? dir : "");
}

int
epoll_wait(int ep, struct epoll_event *events, int n, int timeout)
{
    int    ms;
    FILE  *f;

    f = fopen(slow, "r");

    if (f) {
        if (fscanf(f, "%d", &ms) != 1) {
            ms = 0;
        }

        fclose(f);

        while (ms > 0 && access(slow, F_OK) == 0) {
            usleep(10000);
            ms -= 10;
        }
    }

    return syscall(SYS_epoll_pwait, ep, events, n, timeout, NULL, 8);
}

int
kill(pid_t pid, int sig)
{
    int  rc;

    rc = syscall(SYS_kill, pid, sig);

    if (rc == 0 || errno != ESRCH || sig) {
        return rc;
    }

    if (access(reuse, F_OK) == 0) {
        return 0;
    }

    errno = ESRCH;

    return -1;
}
C
close $fh;

system($ENV{CC} || 'cc', '-shared', '-fPIC', '-o', "$dir/process.so",
       "$dir/process.c") == 0 or die "no library of processes\n";

chmod 0755, $dir;

$ENV{VMESS_TEST_PROCESS} = $dir;
$ENV{ASAN_OPTIONS} = join ',', 'verify_asan_link_order=0', $ENV{ASAN_OPTIONS} // ();
$ENV{TEST_NGINX_LD_PRELOAD} = join ' ', $ENV{TEST_NGINX_LD_PRELOAD} // (),
                                   "$dir/process.so";


sub slow_turns { return put('slow', $_[0]) }
sub reuse_pids { return put('reuse', $_[0]) }

sub put {
    my ($name, $value) = @_;

    if (!$value) {
        unlink "$dir/$name";
        return;
    }

    open my $fh, '>', "$dir/$name.tmp" or die $!;
    print $fh "$value\n";
    close $fh;
    rename "$dir/$name.tmp", "$dir/$name" or die $!;
}

1;
