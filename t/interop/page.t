#!/usr/bin/perl

# The page of vmess_status in a real Chromium, see page.py.
#
# With VMESS_PAGE_SHOTS=DIR pictures are taken into that directory instead, with
# VMESS_PAGE_USERS=N users.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use Peer ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use VMess;
use VMess::API;

if (($ENV{VMESS_INTEROP_ONLY} // 'page') !~ /page/) {
    plan skip_all => 'the page is the same with all versions of nginx';
}

my %peer = map { /^(\S+)=(.*)/ ? ($1, $2) : () } `$FindBin::Bin/peers browser`;

if (!$peer{playwright}) {
    BAIL_OUT('no browser') if $ENV{CI};
    plan skip_all => 'no browser';
}

my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
my ($port, $http, $echo) = Peer::free_ports(3);
my $limit = 60 * ($ENV{TEST_VMESS_SCALE} || 1);
my $users = $ENV{VMESS_PAGE_USERS} // 120;
my $alice = 'b831381d-6324-4d53-ad4f-8cda48b30811';
my $dir = tempdir('vmess-page-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
mkdir "$dir/logs";

my $owner = $$;
my $pid;

END {
    if ($pid && $$ == $owner) {
        my $rc = $?;
        kill 'TERM', $pid;
        waitpid $pid, 0;
        $? = $rc;
    }
}

my $zone = $users > 10000 ? '256m' : '8m';

open my $fh, '>', "$dir/nginx.conf" or die $!;
print $fh map { "load_module $_;\n" } split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
print $fh <<"END";
daemon off;
worker_processes 2;
pid $dir/pid;
error_log $dir/error.log info;
events { }

stream {
    resolver 127.0.0.1;
    vmess_allow 127.0.0.1;

    vmess_users main:$zone {
        alice $alice quota=1g expires=2040-01-31 max_ips=3 max_conns=20;
    }
    vmess_users other:1m { bob ad9f3f5b-3e55-4d6e-8d9a-5f2b5b1a3b44; }

    server {
        listen 127.0.0.1:$port;
        vmess main;
        vmess_share vmess.example.com:10086;
        proxy_pass vmess_target;
    }
    server { listen 127.0.0.1:$echo; proxy_pass 127.0.0.1:$http; }
}

http {
    access_log off;
    client_max_body_size 100m;
    client_body_temp_path $dir/body;

    server {
        listen 127.0.0.1:$http;
        location /status/ { vmess_status main api=/api/ subscription=/sub/; }
        location /api/    { vmess_api main write; }
        location /sub/    { vmess_subscription main; root html; }
        location /view    { vmess_status main; }
        location /wrong/  { vmess_status main api=/other/; }
        location /other/  { vmess_api other write; }
        location = /       { return 200 ok; }
        location /long    { alias $dir/long; limit_rate 1k; }
    }
}
END
close $fh;

open $fh, '>', "$dir/long" or die $!;
print $fh 'x' x 3_000_000;
close $fh;

$pid = fork // die $!;
if (!$pid) {
    open STDOUT, '>', "$dir/out" or die $!;
    open STDERR, '>&', \*STDOUT or die $!;
    exec $nginx, '-p', $dir, '-c', "$dir/nginx.conf", '-e', "$dir/error.log" or POSIX::_exit(1);
}

my $end = time + $limit;
until (IO::Socket::INET->new("127.0.0.1:$port")) {
    die "nginx does not start\n" if time > $end;
    sleep 0.05;
}

# names that break pages

my @strange = ('<script>alert(1)</script>', '<img/src=x/onerror=alert(1)>', "';alert(1)//", '</script>',
    "\xf0\x9f\x98\x80\xf0\x9f\x91\xa8", "\xe6\x96\x87" x 21 . 'x', 'a/../b/', '..', '%2e%2e', '${alert(1)}{{1+1}}',
    'a+b&c=d?e#f', 'user/kick', '__proto__', 'a:b,c;d|e');
utf8::decode($_) for @strange;

@strange = () if $users < 20;

# users of all kinds, with traffic of some

my @list = (map({ { name => $strange[$_], id => sprintf('00000000-0000-4000-8000-%012x', 1e6 + $_) } } 0 .. $#strange),
    map {
        my $u = { name => sprintf('user-%04d', $_), id => sprintf('00000000-0000-4000-8000-%012x', $_) };
        $u->{disabled} = JSON::PP::true if $_ % 10 == 0;
        $u->{quota} = '100g' if $_ % 3 == 0;
        $u->{expires} = '2020-01-01' if $_ % 17 == 0;
        $u->{max_ips} = 3 if $_ % 4 == 0;
        $u->{hold} = '30d' if $_ % 13 == 0;
        $u
    } 1 .. $users - @strange - 1);

my $api = VMess::API->new(connect => sub { IO::Socket::INET->new("127.0.0.1:$http") // die $! });

while (my @some = splice @list, 0, 10000) {
    my $a = $api->request(PATCH => 'users', { users => \@some });
    is($a->{status}, 200, 'users') or diag $a->{text};
}

my @flows;
for my $path ('/long', '/', '/long') {
    my $s = IO::Socket::INET->new("127.0.0.1:$port");
    my $f = VMess->new(uuid => $alice, port => $echo)
                 ->connect($s, data => "GET $path HTTP/1.1\r\nHost: x\r\n\r\n");
    like($f->read(12), qr/^HTTP/, 'a flow');
    push @flows, $f;
}
my $s = IO::Socket::INET->new("127.0.0.1:$port");
print $s "GET / HTTP/1.1\r\n\r\n" . 'x' x 5000;
close $s;

open my $out, '-|', $peer{playwright}, "$FindBin::Bin/page.py", $peer{chromium},
    "http://127.0.0.1:$http", $ENV{VMESS_PAGE_SHOTS} // () or die $!;

my $checks = 0;
while (<$out>) {
    /^(not )?ok (.*)/ ? ok(!$1, $2) : diag $_;
    $checks++;
}
close $out;
is($?, 0, 'the browser has finished');
cmp_ok($checks, '>', 80, 'and has looked at everything') if !$ENV{VMESS_PAGE_SHOTS};

open $fh, '<', "$dir/error.log" or die $!;
my @bad = grep { /\[(?:alert|crit|emerg|error)\]/ } <$fh>;
is("@bad", '', 'nothing wrong in the log');

done_testing();
