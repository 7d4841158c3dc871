package VMess::Disk;

# A disk that fails, or is slow, when a test says so: fdatasync() of nginx, through a
# library.  To be used before TestVMess.
#
#   fail_disk(1);
#   fail_disk(0);
#   slow_disk(500, 'snapshot');     # each part of files with that in the name, in ms
#   slow_disk(0);                   # at once, for who waits as well

use v5.20;
use strict;
use warnings;

use Exporter qw(import);
use File::Temp qw(tempdir);

our @EXPORT = qw(fail_disk slow_disk);

my $dir = tempdir('vmess-disk-XXXXXX', TMPDIR => 1, CLEANUP => 1);

open my $fh, '>', "$dir/disk.c" or die $!;
print $fh <<'C';
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char  path[256], slow[256];

static void __attribute__((constructor))
init(void)
{
    char  *dir = getenv("VMESS_TEST_DISK");

    /* nginx writes its title over the environment */

    snprintf(path, sizeof(path), "%s/fails", dir ? dir : "");
    snprintf(slow, sizeof(slow), "%s/slow", dir ? dir : "");
}

/* ms, until the file that says so is gone */

static void
pass_time(int fd)
{
    int    ms, n;
    char   link[32], name[4096], part[64];
    FILE  *f;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);

    n = readlink(link, name, sizeof(name) - 1);
    name[n > 0 ? n : 0] = '\0';

    f = fopen(slow, "r");

    if (f == NULL) {
        return;
    }

    n = fscanf(f, "%d %63s", &ms, part);
    fclose(f);

    if (n != 2 || strstr(name, part) == NULL) {
        return;
    }

    while (ms > 0 && access(slow, F_OK) == 0) {
        usleep(10000);
        ms -= 10;
    }
}

int
fdatasync(int fd)
{
    if (access(path, F_OK) == 0) {
        errno = EIO;
        return -1;
    }

    pass_time(fd);

    return syscall(SYS_fdatasync, fd);
}
C
close $fh;

system($ENV{CC} || 'cc', '-shared', '-fPIC', '-o', "$dir/disk.so",
       "$dir/disk.c") == 0 or die "no library of a disk\n";

chmod 0755, $dir;

$ENV{VMESS_TEST_DISK} = $dir;
$ENV{ASAN_OPTIONS} = join ',', 'verify_asan_link_order=0', $ENV{ASAN_OPTIONS} // ();
$ENV{TEST_NGINX_LD_PRELOAD} = join ' ', $ENV{TEST_NGINX_LD_PRELOAD} // (),
                                   "$dir/disk.so";


sub fail_disk {
    my ($fails) = @_;

    if (!$fails) {
        unlink "$dir/fails";
        return;
    }

    open my $fh, '>', "$dir/fails" or die $!;
}


sub slow_disk {
    my ($ms, $part) = @_;

    if (!$ms) {
        unlink "$dir/slow";
        return;
    }

    open my $fh, '>', "$dir/slow.tmp" or die $!;
    print $fh "$ms $part\n";
    close $fh;
    rename "$dir/slow.tmp", "$dir/slow" or die $!;
}

1;
