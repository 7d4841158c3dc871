# examples/quickstart in a directory of its own: from nothing, again while its
# server runs, and again after it was stopped.

use v5.20;
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use Test::More;

# it uses the packaged nginx, so a static build has nothing to show here
plan skip_all => 'needs the packaged nginx'
    if ($ENV{TEST_NGINX_BINARY} // '') ne '' && !$ENV{TEST_NGINX_LOAD_MODULES};

my $port = ($ENV{TEST_NGINX_STREAM_PORT} // 25200) + 10;
my $dir = tempdir('vmess-quickstart-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $system = state_of_system();


sub text {
    open my $fh, '<', $_[0] or return '';
    local $/;
    return <$fh> // '';
}

# exit code and output

sub quickstart {
    my $out = `timeout 300 examples/quickstart @_ 2>&1 </dev/null`;
    return ($? >> 8 || $? & 127, $out);
}

# what must not change: the nginx of the system, and who forbids services

sub state_of_system {
    my @files = sort split /\n/, `find /etc/nginx /var/lib/nginx -ls 2>/dev/null`;
    return sha256_hex(join "\n", @files, map { text($_) }
                      '/usr/sbin/policy-rc.d', '/run/nginx.pid');
}

sub link_of {
    my ($base64) = $_[0] =~ m{^share link\s+vmess://(\S+)$}m or return {};
    return decode_json(decode_base64($base64));
}

sub pid { return text("$dir/nginx.pid") =~ s/\s+//r || 0 }


# the first time

my ($rc, $out) = quickstart("--port $port $dir");

is($rc, 0, 'it works on its own') or diag $out;
like($out, qr/by VMess over TLS .*: A web site, asked for \/vmess$/m,
     'a request went through VMess');
like($out, qr/by HTTPS alone: A web site, asked for \/https$/m,
     'and one to the web site');

my $link = link_of($out);
my $uuid = qr/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

like($link->{id}, $uuid, 'the share link has an id');
like($out, qr{^ .* \Q$dir\E/conf/site\.crt$}m, 'the certificate can be found');
like($out, qr/private\s+networks are forbidden/, 'what is not possible is told');
is(join(' ', @$link{qw(v add port aid scy net type tls)}),
   "2 127.0.0.1 $port 0 auto tcp none tls", 'and all that a client needs');

my $first = pid();
ok($first && kill(0, $first), 'nginx runs');
is((stat "$dir/conf/nginx.conf")[2] & 077, 0, 'nobody else can read the id');

like(text("$dir/logs/flows.log"),
     qr/user="me" status=ok target="127\.0\.0\.1:${\($port + 1)}" tls /,
     'the flow was logged');


# again

my $conf = text("$dir/conf/nginx.conf");

($rc, $out) = quickstart($dir);

is($rc, 0, 'it can be run again') or diag $out;
is(link_of($out)->{id}, $link->{id}, 'with the same id');
is(pid(), $first, 'by the same process');
is(text("$dir/conf/nginx.conf"), $conf, 'and configuration');
is(() = text("$dir/logs/flows.log") =~ /status=ok/g, 2,
   'and it was proven again');

($rc, $out) = quickstart('--port ' . ($port + 2) . " $dir");
is($rc, 1, 'a running server does not move to another port');
like($out, qr/^quickstart: a server runs in \Q$dir\E on port $port, /,
     'and its own port is told');
is(pid(), $first, 'it runs on');

($rc, $out) = quickstart("--port $port $dir");
is($rc, 0, 'its own port may be given') or diag $out;
is(link_of($out)->{port}, $port, 'and is in the link');


# help

($rc, $out) = quickstart('--help');
is($rc, 0, 'there is help');
like($out, qr/^Usage: .*--port PORT.*--stop.*DIR holds/s, 'that says how');
unlike($out, qr/^#|set -eu/m, 'and no more');


# stop, twice, and start

for ('', ' again') {
    ($rc, $out) = quickstart("--stop $dir");
    is($rc, 0, "it stops$_") or diag $out;
    ok(!IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port"),
       'nothing listens any more');
}

($rc, $out) = quickstart($dir);
is($rc, 0, 'it starts once more') or diag $out;
is(link_of($out)->{id}, $link->{id}, 'with the same id');
isnt(pid(), $first, 'in another process');

quickstart("--stop $dir");


# what goes wrong is one sentence

my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                  LocalPort => $port, ReuseAddr => 1)
    or die "port $port: $!";

my @wrong = (
    ["--port $port $dir.new", qr/^quickstart: port $port or the one after it is in use$/],
    ['--port 0', qr/^quickstart: invalid port "0"/],
    ['--port 65535', qr/^quickstart: invalid port "65535"/],
    ['--what', qr/^quickstart: unknown option "--what"/],
    ["'$dir/a b'", qr/^quickstart: the path ".*a b" may have/],
);

for (@wrong) {
    my ($args, $re) = @$_;
    ($rc, $out) = quickstart($args);
    my @lines = grep { !/^== / } split /\n/, $out;
    is($rc, 1, "$args fails");
    is(@lines, 1, 'with one line');
    like($lines[0], $re, 'that says why');
}

system 'rm', '-rf', "$dir.new";

is(state_of_system(), $system, 'the nginx of the system was not touched');

done_testing();

END {
    my $status = $?;
    system "timeout 30 examples/quickstart --stop $dir >/dev/null 2>&1" if $dir;
    $? = $status;
}
