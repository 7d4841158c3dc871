package VMess::Disk;

# A disk that fails when a test says so: fdatasync() of nginx, through a library.
# To be used before TestVMess.
#
#   fail_disk(1);
#   fail_disk(0);

use v5.20;
use strict;
use warnings;

use Exporter qw(import);
use File::Temp qw(tempdir);

our @EXPORT = qw(fail_disk);

my $dir = tempdir('vmess-disk-XXXXXX', TMPDIR => 1, CLEANUP => 1);

open my $fh, '>', "$dir/disk.c" or die $!;
print $fh <<'C';
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static char  path[256];

static void __attribute__((constructor))
init(void)
{
    char  *dir = getenv("VMESS_TEST_DISK");

    /* nginx writes its title over the environment */

    snprintf(path, sizeof(path), "%s/fails", dir ? dir : "");
}

int
fdatasync(int fd)
{
    if (access(path, F_OK) == 0) {
        errno = EIO;
        return -1;
    }

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

1;
