package Interop;

# The tests of one client: t/interop/CLIENT.t names its legs, and each leg moves
# the same traffic through our server (see Peer.pm for the environment).

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use Peer qw(peers path slurp target run_traffic client server);

our @EXPORT = qw(run_interop);


sub run_interop {
    my ($name, @legs) = @_;

    my $kind = $ENV{VMESS_INTEROP_SERVER} || 'nginx';
    my $mib = $ENV{VMESS_INTEROP_MIB} || 8;
    my %peers = peers();

    for my $need ($name, 'traffic', $kind eq 'nginx' ? () : $kind) {
        next if $peers{$need};

        die "no $need, t/interop/peers installs it\n" if $ENV{CI};
        plan skip_all => "no $need, t/interop/peers installs it";
    }

    # nothing may hang: far above what the slowest machine needs

    local $SIG{ALRM} = sub { die "the test took too long\n" };
    alarm 1800;

    my $server = server($kind);
    my $target = target();

    $_->{port} = $server->{$_->{listen} // $_->{carrier}} for @legs;

    client($name, @legs);

    for my $leg (@legs) {
        my $title = join ', ', $name, $leg->{carrier}, $leg->{security},
                               $leg->{title} // ();

        # More than the buffers of three connections hold: the kernel lets
        # one take tcp_rmem[2], 32 MiB on many machines, at each side.

        my $slow = $mib > 128 ? $mib : 128;

        flow($leg, $target, "$title: $mib MiB down",
             'down', -size => $mib << 20);
        flow($leg, $target, "$title: $mib MiB up",
             'up', -size => $mib << 20);
        flow($leg, $target, "$title: 50 parallel flows",
             'mixed', -size => 300_001, -flows => 50);
        flow($leg, $target, "$title: one byte at a time of a flow",
             'mixed', -size => 1, -flows => 3);
        flow($leg, $target, "$title: slow reader",
             'slow-reader', -size => $slow << 20);
        flow($leg, $target, "$title: slow target",
             'slow-target', -size => $slow << 20);

        # An answer to what our server must know to be all.  Go servers end
        # flows instead, sing-box sends no end, and zero has none.

        if ($kind eq 'nginx' && $name ne 'sing-box'
            && $leg->{security} ne 'zero'
            && ($leg->{experiments} || '') !~ /NoTerminationSignal/)
        {
            flow($leg, $target, "$title: half-close",
                 'half-close', -size => 100_000);
        }
    }

    if ($kind eq 'nginx') {
        logs($server, @legs);
    }

    alarm 0;

    done_testing();
}


sub flow {
    my ($leg, $target, $title, $op, @args) = @_;

    my ($ok, $output) = run_traffic(120, $op, @args, -target => $target,
                                    -socks => "127.0.0.1:$leg->{socks}");

    ok($ok, $title) or diag $output;
}


# what our server said about it

sub logs {
    my ($server, @legs) = @_;

    # flows are logged when they end

    Peer::quit($server);

    my @flows = map { [ split ] } split /\n/, slurp(path('access.log'));
    my %seen;

    for my $flow (@flows) {
        $seen{"$flow->[2] $flow->[3]"}++;
    }

    for my $leg (@legs) {
        my $key = "$leg->{carrier} " . ($leg->{logged} // $leg->{security});

        ok($seen{$key}, "flows are logged with $key")
            or diag 'logged: ' . join ', ', map { "$_: $seen{$_}" }
                                            sort keys %seen;
    }

    my @wrong = grep { $_->[0] ne 'ok' || $_->[1] ne 'tester'
                       || $_->[6] ne '200' } @flows;

    is(join("\n", map { "@$_" } @wrong), '', 'all flows are logged as good');

    my @errors = grep { /\[(warn|error|crit|alert|emerg)\]/ }
                      split /\n/, slurp(path('error.log'));

    is(join("\n", @errors), '', 'nothing bad in the error log');

    my @refused = grep { /client (sent|timed out|closed connection while)/ }
                       split /\n/, slurp(path('error.log'));

    is(join("\n", @refused), '', 'no client was refused');
}


1;
