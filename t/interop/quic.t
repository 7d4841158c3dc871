#!/usr/bin/perl

# QUIC: many streams, a reload, and an end with flows open.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Peer qw(peers stop path slurp target run_traffic start_traffic wait_traffic
            hold_flows client server workers nginx_has);

my %peers = peers();

for my $need (qw(v2ray sing-box traffic)) {
    next if $peers{$need};

    die "no $need, t/interop/peers installs it\n" if $ENV{CI};
    plan skip_all => "no $need, t/interop/peers installs it";
}

plan skip_all => 'nginx was built without http_v3' if !nginx_has('http_v3');

local $SIG{ALRM} = sub { die "the test took too long\n" };
alarm 300;

my $target = target();

for my $name (qw(v2ray sing-box)) {
    my $leg = { carrier => 'quic', security => 'aes-128-gcm' };
    my $server = server('nginx', legs => [ $leg ]);
    my $client = client($name, $leg);
    my @args = (-target => $target, -socks => "127.0.0.1:$leg->{socks}");

    my $flows = sub {
        my ($what, @traffic) = @_;
        my ($ok, $output) = run_traffic(60, @traffic, @args);

        ok($ok, "$name: $what") or diag $output;
    };

    $flows->('128 streams at once', 'mixed', -size => 100_000, -flows => 128);

    # more than there may be: streams are given back

    $flows->('1000 streams, one after another', 'new', -size => 64,
             -times => 1000);

    my @old = workers($server);

    my $held = eval {
        hold_flows(sub {
            kill HUP => $server->{pid};

            my $deadline = time() + 20;

            while ((grep { -e "/proc/$_" } @old) && time() < $deadline) {
                sleep 0.02;
            }

            is(scalar(grep { -e "/proc/$_" } @old), 0,
               "$name: workers do not wait for open flows after a reload");
        }, -size => 64, -flows => 10, -timeout => '60s', @args);
    };

    ok(!$held, "$name: whose flows end");

    $flows->('flows after the reload', 'mixed', -size => 100_000, -flows => 10);

    # nginx says so when the target was connected to

    my $connected = sub {
        return scalar(() = slurp(path('error.log')) =~ /proxy \S+ connected/g);
    };

    my $before = $connected->();
    my $pid = start_traffic(60, 'down', -size => 4 << 30, @args);
    my $deadline = time() + 20;

    while ($connected->() == $before && time() < $deadline) {
        sleep 0.02;
    }

    Peer::quit($server);

    my ($ok) = wait_traffic($pid);

    ok(!$ok, "$name: a flow that is open ends as nginx quits");

    stop($client);

    my @errors = grep { /\[(error|crit|alert|emerg)\]/ }
                      split /\n/, slurp(path('error.log'));

    is("@errors", '', "$name: nothing bad in the error log");

    unlink path('error.log');
}

alarm 0;

done_testing();
