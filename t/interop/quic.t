#!/usr/bin/perl

# QUIC: Debian's v2ray (4.34) and sing-box, a reload and an end with flows open,
# clients that do not authenticate, or end anywhere, and examples/quic.conf.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use Interop;
use Peer qw(peers stop path slurp certificate target run_traffic start_traffic
            wait_traffic hold_flows client server workers nginx_has USER_ID);

$ENV{VMESS_INTEROP_MIB} ||= 16;

my %peers = peers();

for my $need (qw(v2ray sing-box xray traffic)) {
    next if $peers{$need};

    die "no $need, t/interop/peers installs it\n" if $ENV{CI};
    plan skip_all => "no $need, t/interop/peers installs it";
}

plan skip_all => 'nginx was built without http_v3' if !nginx_has('http_v3');

my %gcm = (carrier => 'quic', security => 'aes-128-gcm', slow => 64);
my %chacha20 = (%gcm, security => 'chacha20-poly1305');
my %none = (%gcm, security => 'none');

# Sizes of datagrams: v2ray.t.  sing-box sends no end of a flow.

subtest v2ray => sub {
    run_interop('v2ray', \%gcm, { %none, brief => 1 },
        { %gcm, mux => 8, title => 'mux 8', brief => 1 },
        { %none, udp => 'udp', title => 'UDP', dns => 1, largest => 2037,
          larger => [ -gone => 8000, -cut => 2038 ] },
        { %chacha20, udp => 'mux', mux => 8, title => 'UDP, mux 8',
          largest => 1967 });
};

subtest 'sing-box' => sub {
    run_interop('sing-box', \%gcm, { %gcm, security => 'zero', brief => 1 },
        { %gcm, udp => 'udp', title => 'UDP', dns => 1 },
        { %chacha20, udp => 'xudp', title => 'XUDP', cone => [ -flows => 4 ] });
};

local $SIG{ALRM} = sub { die "the test took too long\n" };
alarm 600;

# the target tells of flows that end early

open my $stderr, '>&', \*STDERR or die "STDERR: $!";
open STDERR, '>', '/dev/null' or die "/dev/null: $!";
my $target = target();
open STDERR, '>&', $stderr or die "STDERR: $!";

subtest "$_, a reload" => \&reload, $_ for qw(v2ray sing-box);
subtest "quic_bpf $_, a reload" => \&reload_busy, $_ for qw(off on);
subtest 'HTTP/3, a reload' => \&reload_http;
subtest 'no VMess' => \&no_vmess;
subtest 'ends' => \&ends;
subtest 'the example' => \&example;

alarm 0;

done_testing();


sub until_true {
    my ($code) = @_;

    my $deadline = time() + 30;

    while (!$code->() && time() < $deadline) {
        sleep 0.02;
    }
}


sub no_errors {
    my @errors = grep { /\[(error|crit|alert|emerg)\]/ }
                      split /\n/, slurp(path('error.log'));

    is("@errors", '', 'nothing bad in the error log');

    unlink path('error.log');
}


sub reload {
    my $name = shift;

    my $leg = { %gcm };
    my $server = server('nginx', legs => [ $leg ]);
    my $client = client($name, $leg);
    my @args = (-target => $target, -socks => "127.0.0.1:$leg->{socks}");

    my $flows = sub {
        my ($what, @traffic) = @_;
        my ($ok, $output) = run_traffic(60, @traffic, @args);

        ok($ok, $what) or diag $output;
    };

    $flows->('128 streams at once', 'mixed', -size => 100_000, -flows => 128);

    # more than there may be: streams are given back

    $flows->('1000 streams, one after another', 'new', -size => 64,
             -times => 1000);

    reload_ends($server, @args);

    $flows->('flows after it', 'mixed', -size => 100_000, -flows => 10);

    # nginx says so when the target was connected to

    my $connected = sub {
        return scalar(() = slurp(path('error.log')) =~ /proxy \S+ connected/g);
    };

    my $before = $connected->();
    my $pid = start_traffic(60, 'down', -size => 4 << 30, @args);

    until_true(sub { $connected->() != $before });
    isnt($connected->(), $before, 'a flow is open');
    Peer::quit($server);

    my ($ok) = wait_traffic($pid);

    ok(!$ok, 'a flow that is open ends as nginx quits');

    stop($client);
    no_errors();
}


# old workers end in spite of open flows, which end, too

sub reload_ends {
    my ($server, @args) = @_;

    my @old = workers($server);

    eval {
        hold_flows(sub {
            kill HUP => $server->{pid};

            until_true(sub { !grep { -e "/proc/$_" } @old });

            is(scalar(grep { -e "/proc/$_" } @old), 0, 'old workers end');
        }, -size => 64, -flows => 10, -timeout => '60s', @args);
    };

    like($@, qr/^flows that were held failed/, 'flows end');
}


# The old workers live on, and get no client of QUIC any more.  With eBPF, which
# is not for everybody, the new ones have sockets of their own.

sub reload_busy {
    my $bpf = shift;

    my $server = eval { server('nginx', main => "quic_bpf $bpf;") };

    plan skip_all => 'no eBPF here' if !$server && $bpf eq 'on';

    my @quic = (light($server, 'quic'), -size => 64);
    my @old = workers($server);

    hold_flows(sub {
        kill HUP => $server->{pid};

        until_true(sub {
            my $log = slurp(path('error.log'));

            return 2 == (() = $log =~ /gracefully shutting down/g)
                   && 2 == Peer::sockets('udp', $server->{quic}, '07');
        });

        my @pids = map { start_traffic(20, 'new', @quic) } 1 .. 16;
        my @bad = grep { !$_->[0] } map { [ wait_traffic($_) ] } @pids;

        is(scalar @bad, 0, 'new connections') or diag $bad[0][1];
        ok(scalar(grep({ -e "/proc/$_" } @old)), 'beside an old worker');
    }, -vmess => "127.0.0.1:$server->{tcp}", -id => USER_ID, -size => 64,
       -target => $target, -flows => 16, -timeout => '60s');

    Peer::quit($server);
    no_errors();
}


# Those sockets are nginx's own: old and new workers share them, and take
# packets from each other, until the old ones are gone.  They wait for clients
# the packets of which others have got.

sub reload_http {
    my $leg = { carrier => 'xhttp', listen => 'h3', path => '/xh/',
                mode => 'stream-up', security => 'aes-128-gcm' };
    my $server = server('nginx', legs => [ $leg ],
                        main => 'worker_shutdown_timeout 1s;',
                        http => 'keepalive_timeout 3s;');
    my $client = client('xray', $leg);
    my @args = (-target => $target, -socks => "127.0.0.1:$leg->{socks}");

    reload_ends($server, @args);

    my ($ok, $output) = run_traffic(60, 'mixed', -size => 100_000,
                                    -flows => 10, @args);

    ok($ok, 'flows after it') or diag $output;

    stop($client);
    Peer::quit($server);
    no_errors();
}


# connections of nginx, of all its workers: 1 is that which asks

sub active {
    my $server = shift;

    my $s = IO::Socket::INET->new("127.0.0.1:$server->{http}") or return '';

    print $s "GET /status HTTP/1.0\r\n\r\n";

    return join('', <$s>) =~ /^Active connections: (\d+)/m ? $1 : '';
}


# the light client, at one of the ports of the server

sub light {
    my ($server, $port) = @_;

    my ($crt) = certificate();

    return (-vmess => "127.0.0.1:$server->{$port}", -quic, -ca => $crt,
            -id => USER_ID, -target => $target);
}


# a site that says the same to all, and reads what they send

sub site {
    my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64)
        or die "listen: $!";
    my $parent = $$;
    my $pid = fork // die "fork: $!";

    return ($l->sockport, $pid) if $pid;

    $SIG{ALRM} = sub { POSIX::_exit(0) if getppid != $parent; alarm 1 };
    alarm 1;

    while (1) {
        my $c = $l->accept or next;

        syswrite $c, 'site';
        shutdown $c, 1;

        1 while sysread $c, my $buf, 65536;
    }
}


sub no_vmess {
    my ($port, $pid) = site();

    my $server = server('nginx', quic => {
        silent => 'streams=4; vmess_handshake_timeout 1s;',
        site => "; vmess_fallback 127.0.0.1:$port; vmess_handshake_timeout 1s;",
        target => "gso=on; vmess_fallback $target;",
    });

    my $flows = sub {
        my ($what, $at, @traffic) = @_;
        my ($ok, $output) = run_traffic(60, @traffic, light($server, $at));

        ok($ok, $what) or diag $output;

        return $output;
    };

    $flows->('a user', 'quic_silent', 'mixed', -flows => 9);

    my $output = $flows->('no VMess', 'quic_silent', 'probe');
    my @probes = $output =~ /^(.+): .*$/mg;

    cmp_ok(@probes, '>', 15, 'much was tried');
    is($output, join('', map { "$_: 0 bytes, end\n" } @probes),
       'all look the same');

    my $log = slurp(path('error.log'));

    like($log, qr/ client (?:of user "tester" )?$_/, "logged: $_") for
        'sent no VMess header of a known user',
        'sent VMess header of user "tester" with bad time',
        'sent replayed VMess header of user "tester"',
        'sent VMess header of user "tester" with bad tag',
        'timed out while sending VMess header',
        'closed connection while sending VMess header';

    $flows->('more streams than there may be', 'quic_silent', 'refused',
             -size => 1, -flows => 30);

    $output = $flows->('a site', 'quic_site', 'probe');

    is($output, join('', map { "$_: 4 bytes, end\n" } @probes),
       'all get its answer');

    $flows->("by the fallback: $_", 'quic_target', $_, -security => 'off',
             -flows => 4) for qw(up echo down);

    # its client does not let it go

    $flows->('a connection without streams ends', 'quic_silent', 'connection');

    until_true(sub { active($server) eq '1' });

    is(active($server), 1, 'no connection is left');

    Peer::quit($server);
    no_errors();

    kill TERM => $pid;
    waitpid $pid, 0;
}


sub ends {
    my $server = server('nginx', quic => { brief => 'timeout=2s gso=on;' });

    for my $alpn (qw(h2 h3)) {
        my ($ok, $output) = run_traffic(120, 'abort', -flows => 8, -times => 25,
                                        -seed => 1, -alpn => $alpn,
                                        light($server, 'quic_brief'));

        ok($ok, "connections and streams end anywhere, $alpn") or diag $output;
    }

    until_true(sub { active($server) eq '1' });

    is(active($server), 1, 'no connection is left');

    my ($ok, $output) = run_traffic(60, 'mixed', -flows => 10,
                                    light($server, 'quic_brief'));

    ok($ok, 'flows after it') or diag $output;

    Peer::quit($server);
    no_errors();
}


# what is changed before: as t/examples.t does

sub example {
    my ($crt, $key) = certificate();
    my $port = Peer::free_port();
    my $http = Peer::free_port();
    my $logs = path('');

    my $text = slurp("$FindBin::Bin/../../examples/quic.conf");

    $text =~ s/^load_module .*\n//mg;
    $text =~ s/(listen\s+)443\b/${1}127.0.0.1:$port/g;
    $text =~ s/127\.0\.0\.1:8080/127.0.0.1:$http/g;
    $text =~ s/site\.crt;/$crt;/;
    $text =~ s/site\.key;/$key;/;
    $text =~ s{/var/log/nginx/}{$logs};
    $text =~ s/(vmess\s+main;)/$1 vmess_allow 127.0.0.0\/8;/;
    $text =~ s/^http \{/http { access_log off;/m;

    my $conf = Peer::spew(path('example.conf'),
        join('', map { "load_module $_;\n" } Peer::nginx_modules())
        . "daemon off; pid example.pid; error_log error.log info;\n" . $text);

    my $server = {
        pid => Peer::start('example', Peer::nginx_binary(), '-p', path(''),
                           '-c', $conf),
        port => $port,
    };

    Peer::wait_port($server->{pid}, $port, "udp:$port");

    my ($ok, $output) = run_traffic(60, 'mixed', -flows => 9,
                                    light($server, 'port'));

    ok($ok, 'flows') or diag $output;

    Peer::quit($server);

    my @flows = slurp(path('flows.log')) =~ / alice quic \Q$target\E /g;

    is(@flows, 9, 'are logged');
    no_errors();
}
