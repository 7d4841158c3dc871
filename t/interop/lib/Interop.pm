package Interop;

# The tests of one client: t/interop/CLIENT.t names its legs, and each leg moves
# the same traffic through our server (see Peer.pm for the environment).

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use Peer qw(peers stop path slurp target start_traffic traffic_ended
            wait_traffic hold_flows client server connections nginx_has);

our $AtOnce = 4;                 # legs

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

    my $only = $ENV{VMESS_INTEROP_ONLY};

    @legs = grep { title($name, $_) =~ /$only/ } @legs if $only;

    plan skip_all => "no leg of $name is /$only/" if !@legs;

    if ($kind eq 'nginx' && !nginx_has('http_v3')) {
        @legs = left_out($name, 'nginx was built without http_v3',
                         sub { ($_[0]{listen} // $_[0]{carrier})
                               =~ /^(h3|quic)$/ }, @legs);
    }

    my $server = server($kind, legs => \@legs);
    my ($target, $dns) = target();

    @legs = left_out($name, "not known by $kind", sub { !$_[0]{port} }, @legs);

    for my $leg (@legs) {
        $leg->{dns} = $dns if $leg->{dns};
    }

    my @clients = map { client($name, @$_) } grep { @$_ }
                      [ grep { ($_->{udp} // '') ne 'udp' } @legs ],
                      [ grep { ($_->{udp} // '') eq 'udp' } @legs ];

    # more than the buffers of three connections hold: the kernel lets one take
    # tcp_rmem[2], 32 MiB on many machines, at each side

    my $slow = $mib > 128 ? $mib : 128;

    my @traffic = (
        [ "$mib MiB down", 'down', -size => $mib << 20 ],
        [ "$mib MiB up", 'up', -size => $mib << 20 ],
        [ '8 parallel flows', 'mixed', -size => 1_000_001, -flows => 8 ],
        [ '50 parallel flows', 'mixed', -size => 300_001, -flows => 50 ],
        [ 'one byte at a time of a flow', 'mixed', -size => 1, -flows => 3 ],
        [ 'slow reader', 'slow-reader', -size => $slow << 20 ],
        [ 'slow target', 'slow-target', -size => $slow << 20 ],
        [ 'half-close', 'half-close', -size => 100_000 ],
    );

    # v2ray waits a second for an answer to the end, so little else is to run

    for my $rows ([ grep { $_->[0] ne 'half-close' } @traffic ],
                  [ grep { $_->[0] eq 'half-close' } @traffic ])
    {
        at_once($name, $target, map {
            my $leg = $_;

            [ $leg, map { my ($what, @args) = @$_;
                          [ 120, $what, @args, $what =~ /^slow/ && $leg->{slow}
                                         ? (-size => $leg->{slow} << 20) : () ]
                    } grep { moves($kind, $name, $leg, $_->[0]) } @$rows ]

        } grep { !$_->{udp} } @legs);
    }

    at_once($name, $target, map { my $leg = $_;
        [ $leg, map { [ 60, @$_ ] } datagrams($leg, $dns) ]
    } grep { $_->{udp} } @legs);

    for my $leg (grep { $_->{many} } @legs) {
        many($name, $leg, $target);
    }

    for my $leg (grep { $_->{mux} && !$_->{udp} } @legs) {
        sub_streams($name, $leg, $target);
    }

    if ($kind eq 'nginx') {

        # idle flows of datagrams end with their clients

        stop(@clients);
        logs($name, $server, $dns, @legs);
    }

    alarm 0;

    done_testing();
}


# most of the time clients wait, so several legs run at once, each with its rows
# one after the other

sub at_once {
    my ($name, $target, @legs) = @_;

    my %run;

    while (@legs || %run) {
        my @next;

        if (@legs && keys %run < $AtOnce) {
            @next = @{shift @legs};

        } else {
            my $pid = traffic_ended(keys %run);
            my $what;

            ($what, @next) = @{delete $run{$pid}};

            my ($ok, $output) = wait_traffic($pid);

            ok($ok, title($name, $next[0]) . ": $what") or diag $output;
        }

        my ($leg, $row, @rows) = @next;
        next unless $row;

        my ($limit, $what, $op, @args) = @$row;

        my $pid = start_traffic($limit, $op, -target => $target,
                                -socks => "127.0.0.1:$leg->{socks}", @args);

        $run{$pid} = [ $what, $leg, @rows ];
    }
}


sub title {
    my ($name, $leg) = @_;

    return join ', ', $name, $leg->{carrier}, $leg->{security},
                      $leg->{title} // ();
}


# the legs without those that cannot be run, which are shown as skipped

sub left_out {
    my ($name, $why, $test, @legs) = @_;

    my @left;

    for my $leg (@legs) {
        if ($test->($leg)) {
            Test::More->builder->skip("$why: " . title($name, $leg));

        } else {
            push @left, $leg;
        }
    }

    return @left;
}


# what is tried with a leg: a "brief" one differs from another in its bytes only

sub moves {
    my ($kind, $name, $leg, $what) = @_;

    return $what =~ /MiB|^8 / if $leg->{brief};
    return half_closes($kind, $name, $leg) if $what eq 'half-close';
    return waits($kind, $leg) if $what eq 'slow target';
    return $what !~ /^8 /;
}


# Can it send an answer to what our server must know to be all?  Go servers end
# flows instead, sing-box sends no end, and zero has none.

sub half_closes {
    my ($kind, $name, $leg) = @_;

    return $kind eq 'nginx' && $name !~ /^sing-box/
           && $leg->{security} ne 'zero' && !$leg->{mux}
           && ($leg->{experiments} || '') !~ /NoTerminationSignal/;
}


# Does the client wait for a target that does not read?  With packets Xray does
# not over HTTP/1.1: it takes one for written when it is in a buffer of its own,
# opens a connection for the next, and forgets connections with data on the way,
# which then are reset.  (Its server takes all over HTTP/2, too.)

sub waits {
    my ($kind, $leg) = @_;

    return ($leg->{mode} // '') ne 'packet-up'
           || $kind eq 'nginx' && $leg->{listen} ne 'http'
              && ($leg->{alpn} // '') ne 'http/1.1';
}


# Many flows on one connection of HTTP/2: each is used, held while others come
# and go until nginx wants to see a new connection (keepalive_requests, 1000),
# and used again.  Those others come one after another: the Go clients lose a
# request now and then that they start while nginx says so.

sub many {
    my ($name, $leg, $target) = @_;

    my $title = title($name, $leg);
    my %before = map { $_ => 1 } connections($leg->{port});
    my $new = sub { scalar grep { !$before{$_} } connections($leg->{port}) };

    # a client of its own, the first connection of which is there before it
    # needs another

    my $client = client($name, $leg);
    my @args = (-target => $target, -socks => "127.0.0.1:$leg->{socks}");
    my @one = ('new', -size => 64);

    wait_traffic(start_traffic(120, @one, @args));

    my $held = eval {
        hold_flows(sub {
            is($_[0], $leg->{many}, "$title: $leg->{many} flows are held");
            is($new->(), 1, "$title: one connection");

            my ($ok, $output) = wait_traffic(
                start_traffic(120, @one, -times => 1000, @args));

            ok($ok, "$title: 1000 more, one after another") or diag $output;
            is($new->(), 2, "$title: two connections");

            return 1;
        }, -size => 64, -flows => $leg->{many}, -timeout => '120s', @args);
    };

    ok($held, "$title: the flows that were held can be used") or diag $@;

    stop($client);
}


# Many flows at once, each of which is used, held and used again, on as few
# connections as they need.

sub sub_streams {
    my ($name, $leg, $target) = @_;

    my $title = title($name, $leg);
    my $flows = 128;
    my %before = map { $_ => 1 } connections($leg->{port});
    my $client = client($name, $leg);

    my $held = eval {
        hold_flows(sub {
            is($_[0], $flows, "$title: $flows sub-streams are held");
            is(scalar(grep { !$before{$_} } connections($leg->{port})),
               $flows / $leg->{mux}, "$title: $leg->{mux} a connection")
                if $leg->{carrier} !~ /^(mkcp|quic)$/;

            return 1;
        }, -size => 64, -flows => $flows, -timeout => '120s',
           -target => $target, -socks => "127.0.0.1:$leg->{socks}");
    };

    ok($held, "$title: sub-streams that were held can be used") or diag $@;

    stop($client);
}


# what is sent in datagrams: "largest" is what the client takes, "larger" says
# what becomes of more

sub datagrams {
    my ($leg, $dns) = @_;

    my $largest = $leg->{largest} // 8000;
    my @larger = @{$leg->{larger} // []};

    return (
        [ '1 to 1400 bytes', 'udp', -size => 1400, -flows => 4 ],
        [ join(' ', $largest, 'bytes', @larger),
          'udp', -from => $largest - 7, -size => $largest, @larger ],
        [ 'DNS', 'dns', -target => $dns, -flows => 3 ],

        $leg->{cone} ? [ 'full cone', 'cone', @{$leg->{cone}} ] : (),
        $leg->{dns} ? [ 'its own resolver', 'dns', -target => $dns,
                        -udp => "127.0.0.1:$leg->{dns_port}" ] : (),
    );
}


# the version of HTTP and the request of a leg, as patterns

sub wire {
    my $leg = shift;

    my $carrier = $leg->{carrier};
    my $path = $leg->{path};
    my $listen = $leg->{listen};

    my $version = $listen eq 'h3' ? 'HTTP/3.0'
        : $listen eq 'h2c' || ($leg->{alpn} // '') eq 'h2'
          || $listen eq 'https' && $carrier =~ /^(http|grpc)$/ ? 'HTTP/2.0'
        : 'HTTP/1.1';

    my $request = {
        websocket => "GET $path.*",
        httpupgrade => "GET $path",
        http => "PUT $path",
        grpc => "POST /$path/Tun" . ($leg->{multi} ? 'Multi' : ''),
        xhttp => "POST $path" . ({
            'packet-up' => '[^/]+/[0-9]+', 'stream-up' => '[^/]+',
        }->{$leg->{mode} // ''} // ''),
    }->{$carrier};

    return ($version, $request);
}


# lines to be shown if there are any: not too many, and not too long

sub some {
    my @lines = map { length > 300 ? substr($_, 0, 300) . '...' : $_ } @_;

    splice @lines, 10, @lines - 10, '... of ' . @lines if @lines > 10;

    return join "\n", @lines;
}


# A client that is not answered in its time gives up, and tries again: when the
# machine stands still, v2ray does so after 8 s of a WebSocket, and after 4 s of
# TLS for a datagram.  It has sent nothing then.  A raw connection is not answered,
# so its header comes at once.

sub gave_up {
    my ($name, $flow) = @_;

    my ($status, $user, $carrier, $in, $out) = @$flow[0, 1, 2, 7, 8];

    return $name eq 'v2ray' && "$user $in $out" eq '- 0 0'
           && ($status eq 'truncated' && $carrier =~ /^(websocket|http)$/
               || $status eq '-' && $carrier =~ /^(-|http)$/);
}


# what our server said about it

sub logs {
    my ($name, $server, $dns, @legs) = @_;

    # flows are logged when they end

    Peer::quit($server);

    my @flows = map { [ split ] } split /\n/, slurp(path('access.log'));
    my %seen;

    for my $flow (@flows) {
        $seen{"$flow->[2] $flow->[3]"}++;
    }

    for my $leg (@legs) {
        my $key = "$leg->{carrier} " . ($leg->{logged} // $leg->{security});

        ok($seen{$key}, title($name, $leg) . ": logged as $key")
            or diag 'logged: ' . join ', ', map { "$_: $seen{$_}" }
                                            sort keys %seen;
    }

    for my $leg (grep { $_->{mux} && !$_->{udp} } @legs) {
        my @subs = grep { $_->[2] eq $leg->{carrier} && $_->[4] eq 'mux'
                          && $_->[9] eq 'tcp' } @flows;

        cmp_ok(scalar @subs, '>', 50, title($name, $leg) . ': sub-connections');
    }

    my ($host) = split /:/, $dns;

    for my $leg (grep { $_->{udp} } @legs) {
        my ($how, $id) = @{{
            udp => [ 'udp', '-' ], packetaddr => [ 'udp', '-' ],
            xudp => [ 'mux', '0' ], mux => [ 'mux', '[1-9]\d*' ],
        }->{$leg->{udp}}};

        my @sessions = grep { $_->[2] eq $leg->{carrier}
                              && $_->[3] eq $leg->{security}
                              && $_->[9] eq 'udp' } @flows;

        my @echo = grep { $_->[5] ne $host && $_->[4] eq $how
                          && $_->[10] =~ /^$id$/ } @sessions;

        cmp_ok(scalar @echo, '>=', 5, title($name, $leg) . ': sessions');

        my @dns = grep { $_->[5] eq $host } @sessions;

        cmp_ok(scalar @dns, '>=', $leg->{dns} ? 4 : 3,
               title($name, $leg) . ': of DNS');

        next if $name ne 'xray' || $leg->{udp} ne 'xudp' || $dns !~ /:53$/;

        is(scalar(grep { $_->[4] ne 'udp' } @dns), 0,
           title($name, $leg) . ': no XUDP to port 53');
    }

    for my $leg (grep { $_->{detour} } @legs) {
        my @ports = ($leg->{port}, @{$leg->{range}});
        my %flows = map { $_ => 0 } @ports;

        $flows{$_->[11]}++ for grep { exists $flows{$_->[11]} } @flows;

        my ($first, @rest) = @flows{@ports};

        # how many they are depends on when the client was told, of its servers
        # it takes one after the other

        cmp_ok($first, '>', 0, title($name, $leg) . ': at the first port');
        cmp_ok(eval join('+', @rest), '>', 1,
               title($name, $leg) . ": at others (@rest)");
    }

    for my $leg (grep { $_->{listen} } @legs) {
        my ($version, $request) = wire($leg);

        ok(slurp(path('requests.log'))
           =~ /^$leg->{port} $version \d+ $request$/m,
           title($name, $leg) . ": requests of $version");
    }

    my @answers = grep { !/^\d+ \S+ (101|200) / }
                       split /\n/, slurp(path('requests.log'));

    is(some(@answers), '', 'all answers are logged as good');

    my @gone = grep { gave_up($name, $_) } @flows;
    my @wrong = grep { !gave_up($name, $_)
                       && ($_->[0] ne 'ok' || $_->[1] ne 'tester'
                           || $_->[6] ne '200') } @flows;

    diag("gave up before they were answered:\n", some(map { "@$_" } @gone))
        if @gone;

    is(some(map { "@$_" } @wrong), '', 'all flows are logged as good');

    my @errors = grep { /\[(warn|error|crit|alert|emerg)\]/ }
                      split /\n/, slurp(path('error.log'));

    is(some(@errors), '', 'nothing bad in the error log');

    my @refused = grep { /client (sent|timed out|closed connection while)/ }
                       split /\n/, slurp(path('error.log'));

    my @nothing = grep { /closed connection while .* header: nothing/ } @refused;

    is(scalar @nothing, scalar(grep { $_->[0] eq 'truncated' } @gone),
       'who gave up had sent nothing');

    @refused = grep { !/closed connection while .* header: nothing/ } @refused;

    is(some(@refused), '', 'no client was refused');
}


1;
